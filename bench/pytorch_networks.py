"""StyleGAN2's networks for pytorch_baseline.py, written for speed: gains folded into weights, one convolution a batch.

Style mixing 0.9, random noise, G skip, D resnet. `args`: resolution, width(resolution), z_dim, w_dim, mapping_layers, modulation, dtype
and half_from, the smallest resolution that fp16 is used at.
"""
import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

SQRT2 = math.sqrt(2)
HALF = torch.float16


def act(x):
    """Leaky ReLU; its gain is folded into the weights and biases before it. In place: nothing before it keeps x."""
    x = F.leaky_relu_(x, 0.2)
    return x.clamp(-256, 256) if x.dtype == HALF else x


def cast(w, x):
    """fp16 is chosen by resolution; other types are left to autocast."""
    return w.to(x.dtype) if w is not None and x.dtype == HALF else w


def enter(x, resolution, args):
    """x as a block of this resolution takes it."""
    if args.dtype != "fp16":
        return x
    return x.to(HALF) if resolution >= args.half_from else x.float()


# The FIR [1,3,3,1] x [1,3,3,1] / 64 in four forms

@functools.lru_cache(None)
def fir_taps_of(channels, gain, dtype, device):
    taps = torch.tensor([1., 3., 3., 1.], device=device)
    return (torch.outer(taps, taps) * (gain / 64)).to(dtype).expand(channels, 1, 4, 4).contiguous()


@torch.compiler.assume_constant_result      # else a compiled network would make it anew each time
def fir_kernel(channels, gain, dtype, device):
    return fir_taps_of(channels, gain, dtype, device)


def fir_depthwise(x, pad, gain=1, stride=1):
    return F.conv2d(x, fir_kernel(x.shape[1], gain, x.dtype, x.device), padding=pad, stride=stride, groups=x.shape[1])


def fir_single(x, pad, gain=1, stride=1):
    n, c, h, w = x.shape
    y = F.conv2d(x.reshape(n * c, 1, h, w), fir_kernel(1, gain, x.dtype, x.device), padding=pad, stride=stride)
    return y.reshape(n, c, *y.shape[2:])


def fir_taps(x, pad, gain=1, stride=1):
    x = F.pad(x, (pad,) * 4)
    for dim in (2, 3):
        n = x.shape[dim] - 3
        parts = [x.narrow(dim, i, n) for i in range(4)]
        if stride > 1:
            parts = [p[:, :, ::stride] if dim == 2 else p[:, :, :, ::stride] for p in parts]
        x = (parts[0] + parts[3]).add_(parts[1] + parts[2], alpha=3)
    return x * (gain / 64)


def fir_boxes(x, pad, gain=1, stride=1):
    """[1,3,3,1] is three boxes of two."""
    x = F.avg_pool2d(x, 2, 1, padding=min(pad, 1), divisor_override=1)
    if pad > 1:
        x = F.pad(x, (pad - 1,) * 4)
    x = F.avg_pool2d(x, 2, 1, divisor_override=1)
    return F.avg_pool2d(x, 2, stride, divisor_override=1) * (gain / 64)


FIRS = dict(depthwise=fir_depthwise, single=fir_single, taps=fir_taps, boxes=fir_boxes)
fir = fir_depthwise


def upsample(image):
    """Zero-padded interpolation by 2: bilinear inside, with a zero border instead of a repeated one."""
    return F.interpolate(F.pad(image, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False)[:, :, 2:-2, 2:-2]


class Linear(nn.Module):
    def __init__(self, i, o, bias=0.0, lr_mult=1.0, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(o, i) / lr_mult)
        self.bias = nn.Parameter(torch.full((o,), bias))
        self.scale, self.bias_scale = gain * lr_mult / math.sqrt(i), gain * lr_mult

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight.t(), beta=self.bias_scale, alpha=self.scale)


class Mapping(nn.Module):
    def __init__(self, args, num_ws):
        super().__init__()
        self.layers = nn.ModuleList(Linear(args.w_dim if i else args.z_dim, args.w_dim, lr_mult=0.01, gain=SQRT2) for i in range(args.mapping_layers))
        self.num_ws = num_ws
        self.register_buffer("w_avg", torch.zeros(args.w_dim))

    def forward(self, z, track):
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            x = act(layer(x))
        if track:
            self.w_avg.lerp_(x.detach().mean(0).float(), 0.005)
        return x[:, None].expand(-1, self.num_ws, -1)


def demodulate(w, s, improved):
    if improved:
        return (s.square() @ w.square().sum((2, 3)).t() + 1e-8).rsqrt()
    return ((w[None] * s[:, None, :, None, None]).square().sum((2, 3, 4)) + 1e-8).rsqrt()


class ModulatedConv(nn.Module):
    def __init__(self, args, i, o, up):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(o, i, 3, 3))
        self.bias = nn.Parameter(torch.zeros(o))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.affine = Linear(args.w_dim, i, bias=1.0)
        self.up, self.improved = up, args.modulation == "improved"

    def forward(self, x, w):
        s = self.affine(w).float()
        weight = self.weight
        if x.dtype == HALF:        # keeps sums in range, as the published code does
            weight = weight * (weight[0].numel() ** -0.5 / weight.detach().abs().amax((1, 2, 3), keepdim=True))
            s = s / s.detach().abs().amax(1, keepdim=True)
        d = demodulate(weight, s, self.improved) * SQRT2
        weight = cast(weight, x)
        x = x * s[:, :, None, None].to(x.dtype)
        if self.up:
            x = fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, gain=4)
        else:
            x = F.conv2d(x, weight, padding=1)
        noise = torch.randn(len(x), 1, *x.shape[2:], device=x.device) * (self.noise_strength * SQRT2)
        shift = noise + (self.bias * SQRT2)[:, None, None]
        return act(torch.addcmul(shift.to(x.dtype), x, d[:, :, None, None].to(x.dtype)))


class ToRGB(nn.Module):
    def __init__(self, args, i):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, i, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = Linear(args.w_dim, i, bias=1.0, gain=1 / math.sqrt(i))

    def forward(self, x, w):
        s = self.affine(w)
        return F.conv2d(x * s[:, :, None, None].to(x.dtype), cast(self.weight, x), cast(self.bias, x)).float()


class Generator(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        levels = int(math.log2(args.resolution)) - 1
        channels = [args.width(4 << i) for i in range(levels)]
        self.mapping = Mapping(args, 2 * levels)
        self.const = nn.Parameter(torch.randn(channels[0], 4, 4))
        self.conv0 = nn.ModuleList(ModulatedConv(args, channels[i - 1], channels[i], True) for i in range(1, levels))
        self.conv1 = nn.ModuleList(ModulatedConv(args, c, c, False) for c in channels)
        self.torgb = nn.ModuleList(ToRGB(args, c) for c in channels)

    def mapped(self, n, mixing=0.9):
        z = torch.randn(2, n, self.args.z_dim, device=self.const.device)
        ws = self.mapping(z[0], track=True)
        if getattr(self, "recorded", False):            # a CUDA graph draws on the GPU, and does all that may be needed
            count = torch.full((), ws.shape[1], device=z.device)
            cutoff = torch.where(torch.rand((), device=z.device) < mixing, torch.randint(1, ws.shape[1], (), device=z.device), count)
            return torch.where((torch.arange(ws.shape[1], device=z.device) < cutoff)[:, None], ws, self.mapping(z[1], track=False))
        if torch.rand(()).item() < mixing:
            cutoff = int(torch.randint(1, ws.shape[1], ()))
            ws = torch.cat([ws[:, :cutoff], self.mapping(z[1], track=False)[:, cutoff:]], 1)
        return ws.contiguous()                          # in one layout, else a compiled network is compiled anew

    def forward(self, ws):
        x, image = self.const.expand(len(ws), -1, -1, -1), None
        for i, (conv1, torgb) in enumerate(zip(self.conv1, self.torgb)):
            x = enter(x, 4 << i, self.args)
            if i:
                x = self.conv0[i - 1](x, ws[:, 2 * i - 1])
            x = conv1(x, ws[:, 2 * i])
            rgb = torgb(x, ws[:, 2 * i + 1])
            image = rgb if image is None else upsample(image) + rgb
        return image


class Conv(nn.Module):
    def __init__(self, i, o, k, bias=True, gain=SQRT2):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(o, i, k, k))
        self.bias = nn.Parameter(torch.zeros(o)) if bias else None
        self.scale, self.gain = gain / math.sqrt(i * k * k), gain

    def forward(self, x, **kwargs):
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(x, cast(self.weight * self.scale, x), cast(bias, x), **kwargs)


class Discriminator(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        resolutions = [args.resolution >> i for i in range(int(math.log2(args.resolution)) - 2)]     # down to 8
        self.fromrgb = Conv(3, args.width(args.resolution), 1)
        self.blocks = nn.ModuleList()
        for r in resolutions:
            i, o = args.width(r), args.width(r // 2)
            self.blocks.append(nn.ModuleDict(dict(conv0=Conv(i, i, 3), conv1=Conv(i, o, 3, gain=1.0),   # sqrt(2) sqrt(1/2)
                                                  skip=Conv(i, o, 1, bias=False, gain=math.sqrt(0.5)))))
        top = args.width(4)
        self.conv = Conv(top + 1, top, 3)
        self.fc = Linear(top * 16, top, gain=SQRT2)
        self.out = Linear(top, 1)

    def freeze(self, blocks):
        self.requires_grad_(True)
        if blocks:
            self.fromrgb.requires_grad_(False)
        for block in self.blocks[:blocks]:
            block.requires_grad_(False)

    def forward(self, x):
        x = act(self.fromrgb(enter(x, self.args.resolution, self.args)))
        for i, block in enumerate(self.blocks):
            x = enter(x, self.args.resolution >> i, self.args)
            skip = block["skip"](fir(x, 1, stride=2))
            x = act(block["conv0"](x, padding=1))
            x = act(block["conv1"](fir(x, 2), stride=2)) + skip
        x = enter(x, 4, self.args)
        n, c, h, w = x.shape
        group = min(4, n)
        y = x.float().reshape(group, n // group, c, h, w)
        std = (y.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3)).repeat(group)
        x = torch.cat([x, std[:, None, None, None].expand(-1, 1, h, w).to(x.dtype)], 1)
        x = act(self.conv(x, padding=1)).flatten(1)
        return self.out(act(self.fc(x))).float()


class EfficientNetLite1(nn.Module):
    """Frozen, to its last map, with normalisation inside its convolutions: what it costs, not what it sees"""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6()]
        width, self.residual = 32, []
        self.stem, self.blocks = nn.Sequential(*layers), nn.ModuleList()
        for t, out, count, k, stride in ((1, 16, 1, 3, 1), (6, 24, 3, 3, 2), (6, 40, 3, 5, 2), (6, 80, 4, 3, 2), (6, 112, 4, 5, 1),
                                         (6, 192, 5, 5, 2), (6, 320, 1, 3, 1)):
            for i in range(count):
                hidden = t * width
                layers = [nn.Conv2d(width, hidden, 1), nn.ReLU6()] if t > 1 else []
                layers += [nn.Conv2d(hidden, hidden, k, 1 if i else stride, k // 2, groups=hidden), nn.ReLU6(), nn.Conv2d(hidden, out, 1)]
                self.blocks.append(nn.Sequential(*layers))
                self.residual.append(i > 0)
                width = out
        self.head = nn.Sequential(nn.Conv2d(width, 1280, 1), nn.ReLU6())
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        self.requires_grad_(False)

    def forward(self, x):
        x = self.stem(x)
        for block, residual in zip(self.blocks, self.residual):
            x = x + block(x) if residual else block(x)
        return self.head(x)


class VisionJudge(nn.Module):
    """A frozen EfficientNet-lite1 and a head that trains, behind colours, translation and cutout as DiffAugment has them"""

    def __init__(self, rows):
        super().__init__()
        self.rows, self.network = rows, EfficientNetLite1()
        side = self.network(torch.zeros(1, 3, rows, rows)).shape[2]
        self.conv, self.fc, self.out = nn.Conv2d(1280, 256, 3, 2), nn.Linear(256 * (side // 2) ** 2, 256), nn.Linear(256, 1)

    def augmented(self, x):
        n, size = x.shape[0], x.shape[2]
        offset, saturation, contrast = (torch.rand(n, 1, 1, 1, device=x.device) for _ in range(3))
        x = x + offset - 0.5
        mean = x.mean(1, keepdim=True)
        x = (x - mean) * (2 * saturation) + mean
        mean = x.mean((1, 2, 3), keepdim=True)
        x = (x - mean) * (contrast + 0.5) + mean
        most, grid, each = size // 8, torch.arange(size, device=x.device), torch.arange(n, device=x.device)[:, None, None]
        rows, columns = (grid + torch.randint(-most, most + 1, (n, 1), device=x.device) + 1 for _ in range(2))
        x = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)[each, rows.clamp(0, size + 1)[:, :, None], columns.clamp(0, size + 1)[:, None]]
        inside = [(grid - torch.randint(0, size, (n, 1), device=x.device)).abs() < size // 4 for _ in range(2)]
        return x.permute(0, 3, 1, 2) * ~(inside[0][:, :, None] & inside[1][:, None])[:, None]

    def forward(self, images):
        x = F.interpolate(self.augmented(images), (self.rows, self.rows), mode="area")
        x = fir(self.network(x), 2)
        return self.out(F.leaky_relu(self.fc(F.leaky_relu(self.conv(x), 0.2).flatten(1)), 0.2))
