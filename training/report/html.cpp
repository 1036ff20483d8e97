#include "training/report/html.h"

#include <fmt/format.h>

namespace firn::html {

std::string to_string(const Table& table) {
  std::string text = fmt::format("<div class=\"scroll\"><table{}>\n<thead><tr>", table.words ? " class=\"words\"" : "");
  for (const std::string& head : table.heads) text += fmt::format("<th scope=\"col\">{}</th>", head);
  text += "</tr></thead>\n<tbody>\n";
  for (const Row& row : table.rows) {
    text += fmt::format("<tr{}><th scope=\"row\">{}</th>", row.marked ? " class=\"differs\"" : "", row.head);
    for (const std::string& cell : row.cells) text += fmt::format("<td>{}</td>", cell);
    text += "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

std::string section(const std::string& id, const std::string& title, const std::string& html) {
  return html.empty() ? "" : fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n", id, markup(title), html);
}

std::string paragraph(const std::string& html, const char* css_class) {
  return fmt::format("<p{}>{}</p>\n", *css_class ? fmt::format(" class=\"{}\"", css_class) : "", html);
}

std::string folded(const std::string& summary, const std::string& html) {
  return html.empty() ? "" : fmt::format("<details><summary>{}</summary>\n{}</details>\n", markup(summary), html);
}

std::string figure(const std::string& caption_html, const std::string& html) {
  return fmt::format("<figure><figcaption>{}</figcaption>\n{}</figure>\n", caption_html, html);
}

std::string grid(const std::string& css_class, const std::string& figures_html) {
  return figures_html.empty() ? "" : fmt::format("<div class=\"{}\">\n{}</div>\n", css_class, figures_html);
}

std::string quiet(const std::string& text) { return fmt::format("<small>{}</small>", markup(text)); }

}  // namespace firn::html
