// page.css and page.js, as they were when this was built.
#pragma once

namespace firn::assets {

extern const char* const css;
extern const char* const script;

}  // namespace firn::assets
