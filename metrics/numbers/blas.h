// OpenBLAS, loaded when something is measured, not linked: it starts threads as soon as it is there, which every other
// use of a tool would pay for, and which little memory does not allow. A call is one thread's: how a product is shared
// out among several decides its rounding.
#pragma once
#include <cblas.h>

extern "C" {
void dgesdd_(const char* vectors, const int* rows, const int* columns, double* a, const int* stride, double* values,
             double* u, const int* u_stride, double* v, const int* v_stride, double* work, const int* work_size,
             int* whole, int* info);
void dgelqf_(const int* rows, const int* columns, double* a, const int* stride, double* factors, double* work,
             const int* work_size, int* info);
void dposv_(const char* triangle, const int* rows, const int* sides, double* a, const int* stride, double* b,
            const int* b_stride, int* info);
}

namespace firn {

struct Blas {
  decltype(&cblas_dgemm) gemm;
  decltype(&dgesdd_) singular;
  decltype(&dgelqf_) lq;
  decltype(&dposv_) solve;
};
const Blas& blas();  // Error without the library

}  // namespace firn
