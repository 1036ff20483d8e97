#include "base/text.h"

#include <gtest/gtest.h>

namespace firn {
namespace {

TEST(Files, PrintableNeutralisesTerminalCodesAndLength) {
  EXPECT_EQ(printable("a\x1b[31m\nb"), "a?[31m?b");
  EXPECT_LT(printable(std::string(5000, 'a')).size(), 300u);
}

TEST(Files, PrintableKeepsLettersAndReplacesWhatDeceives) {
  EXPECT_EQ(printable("ni\u00f1o \u65e5\u672c \U0001f600"), "ni\u00f1o \u65e5\u672c \U0001f600");
  EXPECT_EQ(printable("a\u0085b\u009bc"), "a?b?c");                           // C1 controls
  EXPECT_EQ(printable("a\u202eb\u2066c\u200fd\u061ce"), "a?b?c?d?e");         // turns of direction
  EXPECT_EQ(printable("a\u2028b\u2029c"), "a?b?c");                           // line separators
  EXPECT_EQ(printable("a\xff\xc3.\xe2\x82"), "a??.??");                       // no UTF-8
  EXPECT_EQ(printable("\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80"), "?????????");  // overlong, surrogate, beyond the end
  EXPECT_EQ(printable("aa\u00f1", 3), "aa...");                               // never half a character
  EXPECT_EQ(printable("aa\u00f1", 4), "aa\u00f1");
}

}  // namespace
}  // namespace firn
