// What configuring and the scripts say of a machine: stand-ins for nvcc, nvidia-smi and python3 come first on the path.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/tools/tools_support.h"

namespace firn {
namespace {

namespace fs = std::filesystem;

class Build : public testing::Test {
 protected:
  fs::path file(const std::string& name, const std::string& text) const {
    const fs::path path = scratch_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }
  void command(const std::string& name, const std::string& body) const {
    fs::permissions(file("bin/" + name, "#!/bin/sh\n" + body + "\n"), fs::perms::owner_all);
  }
  void nvcc(const std::string& version, const std::string& compiling = "exit 0") const {
    command("nvcc", "[ \"$1\" = --version ] && echo 'Cuda compilation tools, release " + version + ", V0' && exit\n" +
                        compiling);
  }
  void cudnn(const std::string& folder, int major, int minor) const {
    file(folder + "/include/cudnn_version.h",
         fmt::format("#define CUDNN_MAJOR {}\n#define CUDNN_MINOR {}\n#define CUDNN_PATCHLEVEL 1\n", major, minor));
    file(folder + fmt::format("/lib/libcudnn.so.{}", major), "");
  }
  // In a project without languages. cuDNN 99 is none that the machine itself has.
  Ran configure(const std::string& lines) const {
    file("project/CMakeLists.txt",
         "cmake_minimum_required(VERSION 3.24)\nproject(build NONE)\nlist(APPEND "
         "CMAKE_MODULE_PATH " +
             (source / "cmake").string() + ")\n" + lines);
    return run(
        fmt::format("CUDACXX='{0}/bin/nvcc' cmake -G Ninja -S '{0}/project' -B '{0}/out'", scratch_.path().string()));
  }
  Ran configure_cuda(const std::string& wanted) const {
    return configure("set(FIRN_CUDA " + wanted + ")\ninclude(" + (source / "cmake/cuda.cmake").string() +
                     ")\nmessage(STATUS \"FIRN_CUDA is ${FIRN_CUDA}\")\n");
  }
  Ran find_cudnn(const std::string& root = {}) const {
    return configure("set(CUDAToolkit_VERSION_MAJOR 12)\nset(CUDNN_ROOT " + root +
                     ")\nfind_package(CUDNN 99.8 QUIET)\nmessage(\"${CUDNN_FOUND} ${CUDNN_LIBRARY} ${CUDNN_SEEN}\")\n");
  }
  void nccl(const std::string& folder, int major, int minor) const {
    file(folder + "/include/nccl.h",
         fmt::format("#define NCCL_MAJOR {}\n#define NCCL_MINOR {}\n#define NCCL_PATCH 3\n", major, minor));
    file(folder + "/lib/libnccl.so.2", "");
  }
  Ran find_nccl(const std::string& root = {}) const {
    return configure("set(NCCL_ROOT " + root +
                     ")\nfind_package(NCCL 99.20 QUIET)\nmessage(\"${NCCL_FOUND} ${NCCL_LIBRARY} ${NCCL_SEEN}\")\n");
  }
  Ran script(const std::string& lines) const {
    return run("bash -euo pipefail -c 'source \"" + (source / "cmake/packages.sh").string() + "\"; " + lines + "'");
  }
  std::string path(const std::string& name) const { return (scratch_ / name).string(); }

 private:
  Ran run(const std::string& what) const { return shell("export PATH=\"" + path("bin") + ":$PATH\"; " + what); }
  const fs::path source = fs::path(FIRN_TEST_DATA).parent_path();
  const Scratch scratch_;
};

bool says(const Ran& ran, const std::string& text) { return ran.output.find(text) != std::string::npos; }

TEST_F(Build, GoesOnForTheCpuWithoutAnNvccThatRuns) {
  const Ran on = configure_cuda("ON");
  EXPECT_NE(on.code, 0);
  const Ran automatic = configure_cuda("AUTO");
  EXPECT_EQ(automatic.code, 0) << automatic.output;
  EXPECT_TRUE(says(automatic, "CUDA: building for the CPU: " + path("bin/nvcc") + " does not run; set CUDACXX"))
      << automatic.output;
  EXPECT_TRUE(says(automatic, "FIRN_CUDA is OFF")) << automatic.output;
}

TEST_F(Build, NamesAnNvccThatIsTooOld) {
  nvcc("11.8");
  const Ran ran = configure_cuda("AUTO");
  EXPECT_TRUE(says(ran, "building for the CPU: " + path("bin/nvcc") + " is CUDA 11.8 and 12.4 or later is needed"))
      << ran.output;
}

TEST_F(Build, NamesADriverThatIsTooOld) {
  nvcc("13.0");
  command("nvidia-smi", "echo '| NVIDIA-SMI 550.54   Driver Version: 550.54   CUDA Version: 12.4     |'");
  const Ran ran = configure_cuda("AUTO");
  EXPECT_TRUE(says(ran, "building for the CPU: the GPU's driver runs CUDA 12.4 and " + path("bin/nvcc") +
                            " is CUDA 13.0; update the driver, or set CUDACXX to an nvcc of CUDA 12"))
      << ran.output;
}

TEST_F(Build, NamesAGpuThatIsTooOld) {
  nvcc("12.4");
  command("nvidia-smi", "[ $# = 0 ] && echo '| CUDA Version: 12.4 |' || echo 7.5");
  const Ran ran = configure_cuda("AUTO");
  EXPECT_TRUE(says(ran, "building for the CPU: the GPU's compute capability is 7.5 and 8.0 or later is needed"))
      << ran.output;
}

TEST_F(Build, NamesAHostCompilerThatNvccRefuses) {
  nvcc("12.4", "echo '#error -- unsupported GNU version! gcc versions later than 13 are not supported!' >&2; exit 1");
  command("nvidia-smi", "exit 9");
  const Ran ran = configure_cuda("AUTO");
  EXPECT_TRUE(says(ran, "(unsupported GNU version! gcc versions later than 13 are not supported!)")) << ran.output;
}

TEST_F(Build, FindsCudnnInAFolderOfItsOwn) {
  cudnn("cudnn", 99, 10);
  const Ran ran = find_cudnn(path("cudnn"));
  EXPECT_TRUE(says(ran, "TRUE " + path("cudnn/lib/libcudnn.so.99"))) << ran.output;
}

TEST_F(Build, FindsCudnnOfAPythonPackage) {
  cudnn("site/nvidia/cudnn", 99, 8);
  file("site/nvidia_cudnn_cu12-99.8.0.87.dist-info/RECORD", "");
  command("python3", "echo '" + path("site/nvidia") + "'");
  const Ran ran = find_cudnn();
  EXPECT_TRUE(says(ran, "TRUE " + path("site/nvidia/cudnn/lib/libcudnn.so.99"))) << ran.output;
}

TEST_F(Build, TakesNoCudnnThatIsOldOrOfAnotherCuda) {
  cudnn("cudnn", 99, 1);
  Ran ran = find_cudnn(path("cudnn"));
  EXPECT_TRUE(says(ran, "FALSE")) << ran.output;
  EXPECT_TRUE(says(ran, "99.1.1 in " + path("cudnn/include"))) << ran.output;
  cudnn("site/nvidia/cudnn", 99, 10);
  file("site/nvidia_cudnn_cu13-99.10.2.21.dist-info/RECORD", "");
  ran = find_cudnn(path("site/nvidia/cudnn"));
  EXPECT_TRUE(says(ran, "FALSE")) << ran.output;
  EXPECT_TRUE(says(ran, "99.10.1 for another CUDA in ")) << ran.output;
}

TEST_F(Build, FindsNcclInAFolderOfItsOwnOrOfAPythonPackage) {
  nccl("nccl", 99, 21);
  Ran ran = find_nccl(path("nccl"));
  EXPECT_TRUE(says(ran, "TRUE " + path("nccl/lib/libnccl.so.2") + " 99.21.3 in ")) << ran.output;
  nccl("site/nvidia/nccl", 99, 20);
  command("python3", "echo '" + path("site/nvidia") + "'");
  ran = find_nccl();
  EXPECT_TRUE(says(ran, "TRUE " + path("site/nvidia/nccl/lib/libnccl.so.2"))) << ran.output;
}

TEST_F(Build, TakesNoNcclThatIsOld) {
  nccl("nccl", 99, 19);
  const Ran ran = find_nccl(path("nccl"));
  EXPECT_TRUE(says(ran, "FALSE")) << ran.output;
  EXPECT_TRUE(says(ran, "99.19.3 in " + path("nccl/include"))) << ran.output;
}

TEST_F(Build, AsksForCudaWhereThereIsAGpu) {
  command("nvidia-smi", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-0)'");
  EXPECT_EQ(script("cuda_or_not").output, "AUTO\n");
  command("nvidia-smi", "echo 'No devices were found'; exit 6");
  EXPECT_EQ(script("cuda_or_not").output, "OFF\n");
}

TEST_F(Build, ShowsWhatConfiguringSaysOfCuda) {
  command("cmake", "echo '-- Configuring done'; echo '-- CUDA: building for the CPU: there is no nvcc'");
  EXPECT_EQ(script("configure build").output, "building for the CPU: there is no nvcc\n");
  command("cmake", "echo 'CMake Error: no'; exit 1");
  const Ran ran = script("configure build");
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.output, "CMake Error: no\n");
}

}  // namespace
}  // namespace firn
