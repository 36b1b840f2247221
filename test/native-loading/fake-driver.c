// A libcuda.so.1 that says what the environment tells it to:
//   FAKE_CUDA_INIT     what cuInit returns (default 0)
//   FAKE_CUDA_VERSION  what cuDriverGetVersion tells (default 13020)
//   FAKE_CUDA_DEVICES  "name:major.minor:bytes", several with ";" between them
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char* text(const char* name, const char* otherwise) {
  const char* value = getenv(name);
  return value != NULL ? value : otherwise;
}

static int find(int wanted, char* name, int* major, int* minor, unsigned long long* bytes) {
  const char* list = text("FAKE_CUDA_DEVICES", "");
  for (int i = 0; *list != '\0'; ++i) {
    if (i == wanted) return sscanf(list, "%255[^:]:%d.%d:%llu", name, major, minor, bytes) == 4;
    const char* next = strchr(list, ';');
    list = next != NULL ? next + 1 : "";
  }
  return 0;
}

int cuInit(unsigned flags) { return flags == 0 ? atoi(text("FAKE_CUDA_INIT", "0")) : 1; }

int cuDriverGetVersion(int* version) {
  *version = atoi(text("FAKE_CUDA_VERSION", "13020"));
  return 0;
}

int cuDeviceGetCount(int* count) {
  char name[256];
  int major, minor;
  unsigned long long bytes;
  for (*count = 0; find(*count, name, &major, &minor, &bytes); ++*count) continue;
  return 0;
}

int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return 0;
}

int cuDeviceGetName(char* name, int length, int device) {
  char whole[256];
  int major, minor;
  unsigned long long bytes;
  if (!find(device, whole, &major, &minor, &bytes)) return 101;
  snprintf(name, length, "%s", whole);
  return 0;
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
  char name[256];
  int major, minor;
  unsigned long long bytes;
  if (!find(device, name, &major, &minor, &bytes)) return 101;
  if (attribute != 75 && attribute != 76) return 1;
  *value = attribute == 75 ? major : minor;
  return 0;
}

#ifndef WITHOUT_MEMORY
int cuDeviceTotalMem_v2(size_t* total, int device) {
  char name[256];
  int major, minor;
  unsigned long long bytes;
  if (!find(device, name, &major, &minor, &bytes)) return 101;
  *total = bytes;
  return 0;
}
#endif

int cuGetErrorString(int error, const char** result) {
  switch (error) {
    case 100: *result = "no CUDA-capable device is detected"; return 0;
    case 803: *result = "system has unsupported display driver / cuda driver combination"; return 0;
    default: return 1;
  }
}
