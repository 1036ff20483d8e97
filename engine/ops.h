// Every differentiable function. All are differentiable twice (and more), throw ShapeError on operands that do not fit,
// and compute in f32 (f64 for f64); bf16 is a storage type of activations. Integers are an index, or only moved
// (layout). Layout is NHWC.
#pragma once
#include "engine/random.h"
#include "engine/tape.h"
#include "engine/tensor.h"

namespace firn {

// --- pointwise (ops/elementwise.cpp). Two operands broadcast as in NumPy: aligned at the last axis, size 1 stretches.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
struct Affine {
  double scale, shift;
};
Tensor affine(const Tensor& x, double scale, double shift);  // scale x + shift
Tensor square(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);
Tensor softplus(const Tensor& x);  // log(1 + e^x)
Tensor sigmoid(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor abs(const Tensor& x);
Tensor sign(const Tensor& x);        // no gradient
Tensor gelu(const Tensor& x);        // x Phi(x), Phi the normal distribution
Tensor quick_gelu(const Tensor& x);  // x sigmoid(1.702 x)
Tensor cast(const Tensor& x, DType type);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator*(const Tensor& x, double k) { return affine(x, k, 0); }
inline Tensor operator*(double k, const Tensor& x) { return affine(x, k, 0); }
inline Tensor operator+(const Tensor& x, double k) { return affine(x, 1, k); }
inline Tensor operator-(const Tensor& x, double k) { return affine(x, 1, -k); }
inline Tensor operator-(const Tensor& x) { return affine(x, -1, 0); }

// --- sums (ops/reduce.cpp). Sums of bf16 are f32.
Tensor sum_to(const Tensor& x, const Shape& shape);  // sums the axes that broadcasting `shape` would stretch
Tensor expand(const Tensor& x, const Shape& shape, DType type);  // the reverse
Tensor sum(const Tensor& x);                                     // [] from any shape
Tensor mean(const Tensor& x);
Tensor sum_per_sample(const Tensor& x);                           // [N] from [N,...]
Tensor mean_axes(const Tensor& x, const std::vector<int>& axes);  // keeps the axes with size 1

// --- channels (ops/channel.cpp); x [N,...,C], s [N,C] f32 (f64).
Tensor scale_channels(const Tensor& x, const Tensor& s);  // y[n,..,c] = x[n,..,c] s[n,c]
Tensor dot_pixels(const Tensor& a, const Tensor& b);      // s[n,c] = sum over pixels of a b

// --- matrix product (ops/matmul.cpp): y = alpha op(a) op(b). Two axes each, or three: a batch, in which 1 is shared.
struct Matmul {
  bool trans_a = false, trans_b = false;
  double alpha = 1;
  bool wide_output = false;  // bf16 operands give an f32 result
};
Tensor matmul(const Tensor& a, const Tensor& b, Matmul p = {});

// --- convolution (ops/conv2d.cpp). x [N,H,W,I], w [O,KH,KW,I/groups] f32 (f64) -> [N,H',W',O]. The weights used are
// gain w. Each group of O/groups channels sees the I/groups of its place.
// transposed: y[n, s p + k - pad, o] += w[o,k,i] x[n,p,i] (no flip); w is stored the same, H' = (H-1) s + KH - 2 pad -
// behind.
struct Conv2d {
  int stride = 1, pad = 0;
  bool transposed = false;
  double gain = 1;
  int pad_x = -1;  // of columns; < 0: pad, as of rows
  int groups = 1;
  int behind = 0;  // rows and columns of padding that the image has more behind it than before it
};
Tensor conv2d(const Tensor& x, const Tensor& w, Conv2d p = {});
Tensor conv2d_input_grad(const Tensor& gy, const Tensor& w, const Shape& x_shape, Conv2d p);
Tensor conv2d_weight_grad(const Tensor& x, const Tensor& gy, const Shape& w_shape, Conv2d p);

// --- resampling (ops/upfirdn2d.cpp): zero-insert up, pad (negative crops), true convolution with gain f f^T, keep
// every down-th sample. f is a separable filter's taps; the default is StyleGAN2's.
struct Fir {
  std::vector<double> taps = {0.125, 0.375, 0.375, 0.125};
  int up = 1, down = 1;
  int pad_x0 = 0, pad_x1 = 0, pad_y0 = 0, pad_y1 = 0;
  double gain = 1;
};
Tensor upfirdn2d(const Tensor& x, Fir p);
// The mean of 2x2 times gain, as the four taps of layers that resample (below). It takes a fourth of the products for
// average_pool(conv2d(x, w, {.pad = 1})), w 3x3:     conv2d_down(x, w, b, two_by_two(2), {.stride = 2}, act)
// conv2d(upsample_nearest(x), w, {.pad = 1}): styled_conv2d_up(x, {}, w with its window turned by half a turn, b,
//                                                              {.stride = 2, .transposed = true}, two_by_two(1, 4),
//                                                              act)
inline Fir two_by_two(int pad, double gain = 1) {
  return {.taps = {0, 0.5, 0.5, 0}, .pad_x0 = pad, .pad_x1 = pad, .pad_y0 = pad, .pad_y1 = pad, .gain = gain};
}
Tensor upsample2d(const Tensor& x);    // x2, spec: pad (2,1), gain 4
Tensor downsample2d(const Tensor& x);  // /2, pad (1,1)

// --- what augmentation does to images (ops/affine_resample.cpp, ops/image_transforms.cpp). x [N,H,W,C], f32 or f64, in
// which all of it is linear but for what mix_channels adds; what is done to each image stands in tensors of that type,
// which have no gradient.
// Pixels of an image that are reflected beyond each of its sides; below 0: all but the outermost, which is the most.
struct Reflection {
  int left = -1, right = -1, top = -1, bottom = -1;
};
// Images through affine maps, without aliasing: y [N,H,W,C] at (a, b) is x at matrix[n] (a, b, 1), both counted from
// the centre, as reflection, doubling by sym6, a grid of bilinear samples and halving by sym6 give it. matrix [N,2,3].
// What a grid_sample would be needed for is affine_resample alone: of the doubled image, which is never made, the
// samples [N,2H+10,2W+10,C].
Tensor warp(const Tensor& x, const Tensor& matrix, Reflection pad = {});
Tensor affine_resample(const Tensor& x, const Tensor& matrix, Reflection pad = {});
Tensor affine_resample_transposed(const Tensor& y, const Tensor& matrix, const Shape& x_shape, Reflection pad = {});
Tensor mix_channels(const Tensor& x, const Tensor& m);  // m [N,C,C+1], C up to 4: y = m[:,:C] x + m[:,C] for each pixel
Tensor shift_pixels(const Tensor& x, const Tensor& by);  // y[n,h,w] = x[n,h+by[n,0],w+by[n,1]], zero beyond the image
// Zero where |h + 1/2 - box[n,0]| < box[n,2] and |w + 1/2 - box[n,1]| < box[n,3].
Tensor cut_out(const Tensor& x, const Tensor& box);
Tensor filter_reflected(const Tensor& x, const Tensor& taps);  // [N,taps], odd: along rows and columns, x reflected

// --- pooling (ops/pooling.cpp), x [N,H,W,C]; one is the other's gradient but for a factor. Both times gain.
Tensor upsample_nearest(const Tensor& x, double gain = 1);  // [N,2H,2W,C]: each pixel four times
Tensor average_pool(const Tensor& x, double gain = 1);      // [N,H/2,W/2,C]: the mean of 2x2; H, W even

// --- windows that slide over images (ops/window_pool.cpp), x [N,H,W,C]; what lies outside the image is left out.
struct PoolWindow {
  int size = 3, stride = 1, pad = 0;
  bool ceil = false;  // also a last one that the image ends in
};
Tensor max_pool(const Tensor& x, PoolWindow p);
Tensor mean_around(const Tensor& x, int size);  // of the size x size pixels around each, in x's shape

// --- sizes (ops/resize.cpp), x [N,H,W,C] -> [N,height,width,C], linear in x
enum class Resize {
  area,      // the mean of the pixels that one of the new ones touches
  bilinear,  // the corners of one image on those of the other: PyTorch's align_corners
  bicubic    // of pixel centres, nothing averaged when shrinking (Keys' kernel with a = -0.75): PyTorch's
};
// bicubic may be told how far apart in x the new pixels are; 0: as the sizes have it.
Tensor resize(const Tensor& x, int64_t height, int64_t width, Resize how, double step = 0);

// --- what follows a convolution (ops/bias_act.cpp): y = clamp(gain lrelu(d x + strength noise + b)).
struct BiasAct {
  double slope = 1;  // 1: linear; 0.2: leaky ReLU
  double gain = 1;
  double clamp = -1;  // < 0: none
  Tensor d{};         // [N,C] f32, or undefined
  Tensor noise{};     // [N,H,W] or [1,H,W] f32, or undefined; goes with strength [] f32
  Tensor strength{};
};
inline BiasAct lrelu(double gain = 1.4142135623730951, double clamp = -1) {
  return {.slope = 0.2, .gain = gain, .clamp = clamp};
}
inline BiasAct linear(double gain = 1, double clamp = -1) { return {.slope = 1, .gain = gain, .clamp = clamp}; }
Tensor bias_act(const Tensor& x, const Tensor& b /* [C] or undefined */, BiasAct p);
// bias_act(upfirdn2d(x, p), b, act) in one pass where the device has one.
Tensor upfirdn2d_bias_act(const Tensor& x, Fir p, const Tensor& b, BiasAct act);
// A layer of a network: bias_act(conv2d(scale_channels(x, s), w), b), s or b undefined for none, in fewer passes where
// the device has them.
Tensor styled_conv2d(const Tensor& x, const Tensor& s, const Tensor& w, const Tensor& b, Conv2d conv, BiasAct act);
// Layers that resample, also in fewer passes where the device has them; 3x3 windows, stride 2, four taps:
// bias_act(upfirdn2d(conv2d(scale_channels(x, s), w, conv), fir), b, act), where conv is transposed;
Tensor styled_conv2d_up(const Tensor& x, const Tensor& s, const Tensor& w, const Tensor& b, Conv2d conv, Fir fir,
                        BiasAct act);
// bias_act(conv2d(upfirdn2d(x, fir), w, conv), b, act); x is let go of as soon as it is filtered.
Tensor conv2d_down(Tensor x, const Tensor& w, const Tensor& b, Fir fir, Conv2d conv, BiasAct act);
// conv2d(x, w, conv) + addend, also in one pass where the device has it.
Tensor conv2d_add(const Tensor& x, const Tensor& w, Conv2d conv, const Tensor& addend);
Tensor relu(const Tensor& x);  // max(x, 0); its gradient goes where the result is positive (ops/composed.cpp)
Tensor bias_act_grad(const Tensor& gy, const Tensor& y, double slope, double gain, double clamp);

// --- along the last axis (ops/rows.cpp)
Tensor softmax(const Tensor& x);
// gamma (x - mean) / sqrt(variance + eps) + beta by the biased variance; gamma, beta [C] f32 (f64).
Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps = 1e-5);

// --- attention (ops/attention.cpp; Vaswani et al. 2017, arXiv 1706.03762): softmax(q k^T / sqrt(d) + bias) v for each
// of the heads, which are d neighbouring channels each. q [N,T,heads d], k and v [N,S,heads d]. The weights
// [N,heads,T,S] are computed anew for the gradient. bias [B,heads,T,S] f32 (f64), of which the n-th of the batch has
// the (n mod B)-th, takes no gradient; undefined: none.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Tensor& bias = {});

// --- spectral normalisation (ops/spectral_norm.cpp; Miyato et al. 2018, arXiv 1802.05957). w [O,...] is a matrix
// [O,R].
struct SpectralLayer {
  Tensor w, u;  // u [O], of the type of w; written in place where the new one is kept
  bool keep = true;
};
struct Spectral {
  Tensor u, v, sigma{};  // [O], [R], []: constants
};
// Of each layer, `iterations` times: v = l2n(u w), u = l2n(w v); then sigma = u w v, l2n(x) = x / (|x| + 1e-12). The
// launches are as many for a hundred layers as for one.
std::vector<Spectral> power_iteration(const std::vector<SpectralLayer>& layers, int iterations = 1);
// sigma as a function of w, u and v being constants: [] = u w v, or the sigma that is known; its gradient is
Tensor spectral_sigma(const Tensor& w, const Spectral& s);
Tensor spectral_outer(const Tensor& k, const Spectral& s, const Shape& shape);  // k u v^T in w's shape
// bias_act(conv2d(x, w) / sigma, b, act), the gradient through sigma included; of act only the slope may be set.
Tensor spectral_conv2d(const Tensor& x, const Tensor& w, const Spectral& s, const Tensor& b, Conv2d conv, BiasAct act);

// --- the head of a projection discriminator (ops/projection.cpp; Miyato & Koyama 2018, arXiv 1802.05637)
struct Projection {
  Tensor w, b;                      // [1,C] or [C], [1]
  Tensor embed{}, labels{};         // [K,C] and [N] i32, or undefined: no classes
  Tensor w_sigma{}, embed_sigma{};  // [], or undefined: 1
};
// x [N,...,C] -> [N,1] = <w, h> / w_sigma + b + <embed[label], h> / embed_sigma with h = sum over pixels of relu(x).
// All but x are f32 (f64). A label out of range is a ShapeError on the CPU; on a GPU it adds nothing.
Tensor projection(const Tensor& x, const Projection& p);

// --- layout (ops/layout.cpp)
Tensor reshape(const Tensor& x, Shape shape);  // shares memory; one size may be -1
Tensor permute(const Tensor& x, const std::vector<int>& axes);
Tensor flip(const Tensor& x, const std::vector<int>& axes);  // in reverse order along axes
struct Slice {
  int axis;
  int64_t begin, end;
};
Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end);
Tensor embed(const Tensor& x, int axis, int64_t begin,
             int64_t size);  // zeros of that size with x at begin: slice's gradient
Tensor concat(const std::vector<Tensor>& xs, int axis);

// --- rows by number (ops/gather.cpp). index [N] i32 has no gradient. A number out of range is a ShapeError on the CPU;
// on a GPU, which nobody waits for, it is of no row: gather gives zeros, scatter_add leaves x[n] out.
Tensor gather(const Tensor& x, const Tensor& index);  // y[n] = x[index[n]]: [N,...] from [R,...]
// y[r] = sum of x[n] where index[n] = r, in the order of n: [rows,...] from [N,...].
Tensor scatter_add(const Tensor& x, const Tensor& index, int64_t rows);
// Channels by number: y[...,j] = x[...,from[j]], 0 where from[j] is below 0. from [n] i32 names none twice; back [C]
// i32 is its inverse, below 0 for channels that are not taken.
Tensor pick_channels(const Tensor& x, const Tensor& from, const Tensor& back);
Tensor one_hot(const Tensor& index, int64_t classes, DType type);  // [N,classes] f32 or f64

// --- composed (ops/composed.cpp)
Tensor normalize_2nd_moment(const Tensor& x);  // [N,C]: x / sqrt(mean x^2 + 1e-8)
// What a modulated convolution is scaled by afterwards (bias_act's d): w [O,K,K,I], s [N,I] ->
// [N,O] = 1 / sqrt(sum_i s^2 sum_k w^2 + 1e-8).
Tensor demodulation(const Tensor& w, const Tensor& s);

// --- over the batch (ops/batch_norm.cpp, ops/minibatch_stddev.cpp)
// Ioffe & Szegedy 2015, as in Chainer: y = gamma (x - mean) / sqrt(variance + eps) + beta over all axes but the last.
struct BatchNorm {
  double eps = 2e-5, decay = 0.9;
  bool relu = false;  // max(y, 0), in the same pass
  // By the batch's mean and biased variance; the averages, if any, become decay avg + (1 - decay) of the mean and of
  // the unbiased variance. Otherwise by the averages, which are needed then and have no gradient.
  bool train = true;
  Tensor avg_mean{}, avg_var{};  // [C] f32 (f64)
};
// x [N,...,C]; gamma and beta f32 (f64) [C], or [N,C]: of each sample its own.
Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, BatchNorm p = {});
// Karras et al. 2018: appends `features` channels with the standard deviation over groups of samples n, n + N/group,
// ... The batch is first cut in `segments` (reals and fakes in one batch do not mix).
Tensor minibatch_stddev(const Tensor& x, int group, int features, int segments = 1);

}  // namespace firn
