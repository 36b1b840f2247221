// Keeps the binary loadable with glibc 2.28 and the libstdc++ of GCC 8, wherever it was compiled: a newer system would
// bind it to the newest versions of the symbols below. libtorch's own wheels promise the same. `npm run prebuild`
// checks the result and names what is missing here. Every definition is hidden: it serves the calls of this library
// alone.
#if defined(__linux__) && defined(__x86_64__)
#include <features.h>
#endif

#if defined(__GLIBC__) && defined(__x86_64__)
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <new>

// The names in C++ differ from the symbols' so that the declarations of the system's headers (other visibility, other
// exception specifications) do not meet these.
#define RKIF_DEFINES(symbol) __asm__(symbol) __attribute__((visibility("hidden")))
// A function under the symbol version that it has had since the first x86-64 glibc.
#define RKIF_OLD(alias, symbol) __asm__(".symver " #alias "," #symbol "@GLIBC_2.2.5")

extern "C" {

// 2.29 gave these a new version, which no longer sets errno through a wrapper; the values are the same.
double rkif_old_exp(double);
double rkif_old_log(double);
double rkif_old_pow(double, double);
RKIF_OLD(rkif_old_exp, exp);
RKIF_OLD(rkif_old_log, log);
RKIF_OLD(rkif_old_pow, pow);
double rkif_exp(double x) RKIF_DEFINES("exp");
double rkif_log(double x) RKIF_DEFINES("log");
double rkif_pow(double x, double y) RKIF_DEFINES("pow");
double rkif_exp(double x) { return rkif_old_exp(x); }
double rkif_log(double x) { return rkif_old_log(x); }
double rkif_pow(double x, double y) { return rkif_old_pow(x, y); }

// libdl became part of libc in 2.34.
void* rkif_old_dlopen(const char*, int);
int rkif_old_dlclose(void*);
void* rkif_old_dlsym(void*, const char*);
char* rkif_old_dlerror();
RKIF_OLD(rkif_old_dlopen, dlopen);
RKIF_OLD(rkif_old_dlclose, dlclose);
RKIF_OLD(rkif_old_dlsym, dlsym);
RKIF_OLD(rkif_old_dlerror, dlerror);
void* rkif_dlopen(const char* path, int flags) RKIF_DEFINES("dlopen");
int rkif_dlclose(void* handle) RKIF_DEFINES("dlclose");
void* rkif_dlsym(void* handle, const char* name) RKIF_DEFINES("dlsym");
char* rkif_dlerror() RKIF_DEFINES("dlerror");
void* rkif_dlopen(const char* path, int flags) { return rkif_old_dlopen(path, flags); }
int rkif_dlclose(void* handle) { return rkif_old_dlclose(handle); }
void* rkif_dlsym(void* handle, const char* name) { return rkif_old_dlsym(handle, name); }
char* rkif_dlerror() { return rkif_old_dlerror(); }

// Until 2.33 these were macros around functions of other names. On x86-64 glibc's `struct stat` is the kernel's.
int rkif_stat(const char* path, void* out) RKIF_DEFINES("stat");
int rkif_fstat(int file, void* out) RKIF_DEFINES("fstat");
int rkif_lstat(const char* path, void* out) RKIF_DEFINES("lstat");
int rkif_stat(const char* path, void* out) { return static_cast<int>(syscall(SYS_stat, path, out)); }
int rkif_fstat(int file, void* out) { return static_cast<int>(syscall(SYS_fstat, file, out)); }
int rkif_lstat(const char* path, void* out) { return static_cast<int>(syscall(SYS_lstat, path, out)); }

// 2.32: whether the process has one thread, in which case shared_ptr skips its atomics. Here it never has just one.
extern char rkif_single_threaded RKIF_DEFINES("__libc_single_threaded");
char rkif_single_threaded = 0;

}  // extern "C"

// libstdc++ 3.4.29: std::__throw_bad_array_new_length().
[[noreturn]] void rkif_bad_array_new_length() RKIF_DEFINES("_ZSt28__throw_bad_array_new_lengthv");
void rkif_bad_array_new_length() { throw std::bad_array_new_length(); }

// libstdc++ 3.4.30: std::condition_variable::wait, which no longer is noexcept. The work has always been pthread's.
void rkif_wait(std::condition_variable* self, std::unique_lock<std::mutex>& lock)
    RKIF_DEFINES("_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE");
void rkif_wait(std::condition_variable* self, std::unique_lock<std::mutex>& lock) {
  pthread_cond_wait(self->native_handle(), lock.mutex()->native_handle());
}

#endif
