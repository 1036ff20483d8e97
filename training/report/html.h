// The few shapes of HTML that a page is made of. Arguments called `html` are taken as they are, all others escaped.
#pragma once
#include <string>
#include <vector>

#include "io/markup.h"

namespace firn::html {

struct Row {
  std::string head;                // html
  std::vector<std::string> cells;  // html
  bool marked = false;
};

struct Table {
  std::vector<std::string> heads;  // html; of all columns, the rows' heads among them
  std::vector<Row> rows;
  bool words = false;  // rather than numbers
};

std::string to_string(const Table& table);  // it scrolls where it is too wide
std::string section(const std::string& id, const std::string& title,
                    const std::string& html);  // nothing in it: nothing
std::string paragraph(const std::string& html, const char* css_class = "");
std::string folded(const std::string& summary, const std::string& html);  // nothing in it: nothing
std::string figure(const std::string& caption_html, const std::string& html);
std::string grid(const std::string& css_class, const std::string& figures_html);  // nothing in it: nothing
std::string quiet(const std::string& text);

}  // namespace firn::html
