// The C++ tests' runner: TEST(name) { CHECK(...); } in any file; one executable runs them all, or those whose name
// contains an argument. Its last line is "N passed, N failed".
#pragma once
#include <cmath>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace rkif::test {

struct Case {
  std::string name;
  std::function<void()> run;
};
std::vector<Case>& cases();
struct Register {
  Register(std::string name, std::function<void()> run) { cases().push_back({std::move(name), std::move(run)}); }
};
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
  std::ostringstream message;
  message << file << ":" << line << ": " << what;
  throw Failure(message.str());
}

}  // namespace rkif::test

#define RKIF_TEST_JOIN2(a, b) a##b
#define RKIF_TEST_JOIN(a, b) RKIF_TEST_JOIN2(a, b)
#define TEST(name)                                                                                          \
  static void RKIF_TEST_JOIN(test_, __LINE__)();                                                            \
  static ::rkif::test::Register RKIF_TEST_JOIN(register_, __LINE__)(name, RKIF_TEST_JOIN(test_, __LINE__)); \
  static void RKIF_TEST_JOIN(test_, __LINE__)()
#undef CHECK  // libtorch's logging header has one too: include check.h after its headers
#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) ::rkif::test::fail(__FILE__, __LINE__, "not so: " #condition); \
  } while (0)
#define CHECK_EQUAL(actual, expected)                       \
  do {                                                      \
    auto a_ = (actual);                                     \
    auto e_ = (expected);                                   \
    if (!(a_ == e_)) {                                      \
      std::ostringstream m_;                                \
      m_ << #actual << " is " << a_ << ", expected " << e_; \
      ::rkif::test::fail(__FILE__, __LINE__, m_.str());     \
    }                                                       \
  } while (0)
#define CHECK_NEAR(actual, expected, tolerance)                                 \
  do {                                                                          \
    double a_ = (actual), e_ = (expected), t_ = (tolerance);                    \
    if (!(std::abs(a_ - e_) <= t_)) {                                           \
      std::ostringstream m_;                                                    \
      m_.precision(17);                                                         \
      m_ << #actual << " is " << a_ << ", expected " << e_ << " within " << t_; \
      ::rkif::test::fail(__FILE__, __LINE__, m_.str());                         \
    }                                                                           \
  } while (0)
#define CHECK_THROWS(expression, type, part)                                                                 \
  do {                                                                                                       \
    bool thrown_ = false;                                                                                    \
    try {                                                                                                    \
      (void)(expression);                                                                                    \
    } catch (const type& e_) {                                                                               \
      thrown_ = true;                                                                                        \
      if (std::string(e_.what()).find(part) == std::string::npos)                                            \
        ::rkif::test::fail(__FILE__, __LINE__, std::string("message lacks \"") + part + "\": " + e_.what()); \
    }                                                                                                        \
    if (!thrown_) ::rkif::test::fail(__FILE__, __LINE__, #expression " did not throw " #type);               \
  } while (0)
