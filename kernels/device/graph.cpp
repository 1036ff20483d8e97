#include "kernels/device/graph.h"

#ifdef FIRN_CUDA
#include "kernels/core/cuda_check.h"

namespace firn::kernels {

void Graph::begin() { check(cudaStreamBeginCapture(current(stream_), cudaStreamCaptureModeThreadLocal)); }

void Graph::abandon() {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(static_cast<cudaStream_t>(stream_.cuda),
                       &graph);  // an error here is that of the body, which is on its way
  if (graph) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void Graph::end() {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cudaError_t status = cudaStreamEndCapture(current(stream_), &graph);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&executable, graph, 0);
  if (graph) cudaGraphDestroy(graph);
  cudaGetLastError();
  if (is_lasting(status)) check(status);
  if (status != cudaSuccess) throw GraphError(fmt::format("CUDA makes no graph: {}", cudaGetErrorString(status)));
  executable_ = executable;
}

void Graph::launch() const { check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), current(stream_))); }

Graph::~Graph() {
  if (executable_) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
}

}  // namespace firn::kernels

#else

namespace firn::kernels {

void Graph::begin() { throw_without_cuda("graph"); }
void Graph::end() {}
void Graph::abandon() {}
void Graph::launch() const {}
Graph::~Graph() = default;

}  // namespace firn::kernels

#endif
