// Writes small files of every format into a folder, for fuzz_image to begin with: no mutation would find their shapes.
#include <filesystem>
#include <fstream>

#include "tests/io/image_files.h"

using namespace firn;

int main(int count, char** arguments) {
  if (count != 2) return 2;
  FileBytes palette = png_chunk("PLTE", bytes_of({9, 8, 7, 6, 5, 4}));
  append(palette, png_chunk("tRNS", bytes_of({77})));
  const FileBytes seeds[] = {
      small_jpeg(),
      with_exif(small_jpeg(3), exif_of(6)),
      small_jpeg(4),
      small_bmp(),
      small_webp(),
      small_lossy_webp(),
      png_of({.width = 3, .height = 2, .before = png_chunk("eXIf", exif_of(8)), .rows = FileBytes(8)}),
      png_of({.width = 4, .height = 1, .depth = 2, .colour = 3, .before = palette, .rows = FileBytes(2)}),
      png_of({.width = 2, .height = 2, .colour = 6, .rows = FileBytes(18)}),
      png_of({.width = 1, .height = 2, .depth = 16, .colour = 2, .rows = FileBytes(14)})};
  std::filesystem::create_directories(arguments[1]);
  int number = 0;
  for (const FileBytes& seed : seeds)
    std::ofstream(std::filesystem::path(arguments[1]) / ("seed" + std::to_string(number++)), std::ios::binary)
        .write(reinterpret_cast<const char*>(seed.data()), std::streamsize(seed.size()));
}
