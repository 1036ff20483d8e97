// Stands in for the driver where there is none, while cuDNN plans for a GPU that is only described: code is compiled to
// the end if the driver then takes it. What would need a GPU fails with the error of NVIDIA's own stub. Called by name,
// with the arguments of the driver's interface.
extern "C" {

namespace {
constexpr int kSuccess = 0, kStubLibrary = 34;  // CUresult
int loaded;                                     // whose address stands for whatever was loaded
int give(void** handle) {
  *handle = &loaded;
  return kSuccess;
}
}  // namespace

int cuDriverGetVersion(int* version) {
  *version = FIRN_CUDA_VERSION;
  return kSuccess;
}
int cuLibraryLoadData(void** library, const void*, void*, void*, unsigned, void*, void*, unsigned) {
  return give(library);
}
int cuLibraryGetKernel(void** kernel, void*, const char*) { return give(kernel); }
int cuKernelGetFunction(void** function, void*) { return give(function); }
int cuKernelGetAttribute(int* value, int, void*, int) {
  *value = 0;
  return kSuccess;
}
int cuGetProcAddress_v2(const char*, void** function, int, unsigned long, void*) {
  *function = nullptr;
  return kStubLibrary;
}
int cuGetErrorName(int, const char** text) {
  *text = "CUDA_ERROR_STUB_LIBRARY";
  return kSuccess;
}
int cuGetErrorString(int, const char** text) {
  *text = "there is no driver";
  return kSuccess;
}

int firn_accept(...) { return kSuccess; }
[[gnu::alias("firn_accept")]] int cuInit(...);
[[gnu::alias("firn_accept")]] int cuLibraryUnload(...);
[[gnu::alias("firn_accept")]] int cuKernelSetAttribute(...);

int firn_refuse(...) { return kStubLibrary; }
[[gnu::alias("firn_refuse")]] int cuCtxGetCurrent(...);
[[gnu::alias("firn_refuse")]] int cuCtxGetLimit(...);
[[gnu::alias("firn_refuse")]] int cuCtxPopCurrent(...);
[[gnu::alias("firn_refuse")]] int cuCtxPushCurrent(...);
[[gnu::alias("firn_refuse")]] int cuDeviceGet(...);
[[gnu::alias("firn_refuse")]] int cuDeviceGetCount(...);
[[gnu::alias("firn_refuse")]] int cuGetExportTable(...);
[[gnu::alias("firn_refuse")]] int cuLaunchCooperativeKernel(...);
[[gnu::alias("firn_refuse")]] int cuLaunchKernel(...);
[[gnu::alias("firn_refuse")]] int cuLaunchKernelEx(...);
[[gnu::alias("firn_refuse")]] int cuLibraryLoadFromFile(...);
[[gnu::alias("firn_refuse")]] int cuLinkAddData(...);
[[gnu::alias("firn_refuse")]] int cuLinkComplete(...);
[[gnu::alias("firn_refuse")]] int cuLinkCreate(...);
[[gnu::alias("firn_refuse")]] int cuLinkDestroy(...);
[[gnu::alias("firn_refuse")]] int cuOccupancyMaxPotentialClusterSize(...);
[[gnu::alias("firn_refuse")]] int cuStreamGetCtx(...);
}
