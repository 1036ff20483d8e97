"""StyleGAN2 generator and discriminator as plain functions of {name: tensor}.

The reference that the engine is checked against: ordinary autograd, no fusion, the definition
of each layer rather than its fastest form. Sizes are NCHW, convolution weights OIHW.
"""
import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

SQRT_HALF = math.sqrt(0.5)


@dataclass
class Options:
    height: int = 256                # also the nominal resolution: it names the blocks and sets the widths
    width: int = 256                 # the start grid is 4 x (4 * width / height)
    img_channels: int = 3
    c_dim: int = 0                   # number of classes, 0 for an unconditional model
    z_dim: int = 512
    w_dim: int = 512
    channel_base: int = 16384
    channel_max: int = 512
    mapping_layers: int = 8
    d_mapping_layers: int = 8        # used only when c_dim > 0
    mapping_lr_mult: float = 0.01
    g_architecture: str = "skip"     # skip | resnet | orig
    d_architecture: str = "resnet"   # skip | resnet | orig
    mbstd_group: int = 4
    mbstd_channels: int = 1
    conv_clamp: float = None         # None: no clamp
    w_avg_beta: float = 0.995
    # training
    batch: int = 8
    gamma: float = 1.0
    pl_weight: float = 2.0
    pl_decay: float = 0.01
    g_lr: float = 0.0025
    d_lr: float = 0.0025
    beta1: float = 0.0
    beta2: float = 0.99
    adam_eps: float = 1e-8
    g_reg_interval: int = 4
    d_reg_interval: int = 16
    ema_beta: float = 0.9
    frozen: list = field(default_factory=list)   # patterns such as "D.b32.*"

    @property
    def levels(self):                # 4, 8, ..., height
        return [2 ** i for i in range(2, int(math.log2(self.height)) + 1)]

    @property
    def num_ws(self):
        return 2 * int(math.log2(self.height)) - 2

    def channels(self, r):
        return min(self.channel_base // r, self.channel_max)

    def size(self, r):               # height and width of the feature maps of block b<r>
        return r, r * self.width // self.height


# ---- names and shapes ---------------------------------------------------------------------------

def mapping_shapes(opt, z_dim, w_dim, layers):
    embedded = w_dim if opt.c_dim else 0
    shapes = {}
    if opt.c_dim:
        shapes |= {"mapping.embed.weight": (w_dim, opt.c_dim), "mapping.embed.bias": (w_dim,)}
    for i in range(layers):
        fan_in = z_dim + embedded if i == 0 else w_dim
        shapes |= {f"mapping.fc{i}.weight": (w_dim, fan_in), f"mapping.fc{i}.bias": (w_dim,)}
    return shapes


def generator_shapes(opt):
    """-> (parameters, buffers), both {name: shape}"""
    p = mapping_shapes(opt, opt.z_dim, opt.w_dim, opt.mapping_layers)
    b = {"mapping.w_avg": (opt.w_dim,)}

    def affine(name, channels):
        p[f"{name}.affine.weight"] = (channels, opt.w_dim)
        p[f"{name}.affine.bias"] = (channels,)

    def layer(name, o, i, r):
        p[f"{name}.weight"] = (o, i, 3, 3)
        p[f"{name}.noise_strength"] = ()
        p[f"{name}.bias"] = (o,)
        affine(name, i)
        b[f"{name}.resample_filter"] = (4, 4)
        b[f"{name}.noise_const"] = opt.size(r)

    for r in opt.levels:
        name, o = f"synthesis.b{r}", opt.channels(r)
        b[f"{name}.resample_filter"] = (4, 4)
        if r == 4:
            p[f"{name}.const"] = (o, *opt.size(4))
        else:
            layer(f"{name}.conv0", o, opt.channels(r // 2), r)
        layer(f"{name}.conv1", o, o, r)
        if opt.g_architecture == "skip" or r == opt.height:
            p[f"{name}.torgb.weight"] = (opt.img_channels, o, 1, 1)
            p[f"{name}.torgb.bias"] = (opt.img_channels,)
            affine(f"{name}.torgb", o)
        if opt.g_architecture == "resnet" and r > 4:
            p[f"{name}.skip.weight"] = (o, opt.channels(r // 2), 1, 1)
            b[f"{name}.skip.resample_filter"] = (4, 4)
    return p, b


def discriminator_shapes(opt):
    """-> (parameters, buffers), both {name: shape}"""
    p, b = {}, {}

    def conv(name, o, i, k, bias=True):
        p[f"{name}.weight"] = (o, i, k, k)
        if bias:
            p[f"{name}.bias"] = (o,)
        b[f"{name}.resample_filter"] = (4, 4)

    top = opt.channels(4)
    for r in opt.levels[:0:-1]:
        i, o = opt.channels(r), opt.channels(r // 2)
        b[f"b{r}.resample_filter"] = (4, 4)
        if r == opt.height or opt.d_architecture == "skip":
            conv(f"b{r}.fromrgb", i, opt.img_channels, 1)
        conv(f"b{r}.conv0", i, i, 3)
        conv(f"b{r}.conv1", o, i, 3)
        if opt.d_architecture == "resnet":
            conv(f"b{r}.skip", o, i, 1, bias=False)
    if opt.c_dim:
        p |= mapping_shapes(opt, 0, top, opt.d_mapping_layers)
    if opt.d_architecture == "skip":
        conv("b4.fromrgb", top, opt.img_channels, 1)
    conv("b4.conv", top, top + opt.mbstd_channels, 3)
    h, w = opt.size(4)
    p |= {"b4.fc.weight": (top, top * h * w), "b4.fc.bias": (top,)}
    out = top if opt.c_dim else 1
    p |= {"b4.out.weight": (out, top), "b4.out.bias": (out,)}
    return p, b


# ---- layers -------------------------------------------------------------------------------------

def lrelu(x):
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def clamp(x, limit):
    return x if limit is None else x.clamp(-limit, limit)


def fir():
    taps = torch.tensor([1., 3., 3., 1.], dtype=torch.double)
    return torch.outer(taps, taps) / 64


def upfirdn2d(x, up=1, down=1, pad=(0, 0), gain=1):
    """Insert up-1 zeros after each sample, pad both axes, convolve with the FIR, keep every down-th sample."""
    n, c, h, w = x.shape
    if up > 1:
        spread = x.new_zeros(n, c, h, up, w, up)
        spread[:, :, :, 0, :, 0] = x
        x = spread.reshape(n, c, h * up, w * up)
    x = F.pad(x, (*pad, *pad))
    f = (fir().to(x.dtype) * gain).flip(0, 1).expand(c, 1, 4, 4)
    return F.conv2d(x, f, groups=c)[:, :, ::down, ::down]


def upsample(x):
    return upfirdn2d(x, up=2, pad=(2, 1), gain=4)


def downsample(x):
    return upfirdn2d(x, down=2, pad=(1, 1))


def conv_up2(x, w):
    """True convolution (flipped kernel) of the interpolated signal."""
    return F.conv2d(upfirdn2d(x, up=2, pad=(3, 2), gain=4), w.flip(2, 3))


def conv_down2(x, w):
    return F.conv2d(upfirdn2d(x, pad=(2, 2)), w, stride=2)


def fully_connected(p, name, x, lr_mult=1.0, activate=False):
    w = p[f"{name}.weight"]
    y = x @ (w * (lr_mult / math.sqrt(w.shape[1]))).T + p[f"{name}.bias"] * lr_mult
    return lrelu(y) if activate else y


def normalize(x):
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def mapping(p, opt, z, labels, layers):
    """z [N,z_dim] or None, labels [N] or None -> [N,w_dim]"""
    x = [] if z is None else [normalize(z)]
    if opt.c_dim:
        one_hot = F.one_hot(labels, opt.c_dim).to(p["mapping.embed.weight"].dtype)
        x.append(normalize(fully_connected(p, "mapping.embed", one_hot)))
    x = torch.cat(x, 1)
    for i in range(layers):
        x = fully_connected(p, f"mapping.fc{i}", x, opt.mapping_lr_mult, activate=True)
    return x


# ---- generator ----------------------------------------------------------------------------------

def generator_mapping(p, opt, z, labels=None, psi=1.0, cutoff=None):
    """-> ws [N,num_ws,w_dim], pulled towards w_avg by psi in its first cutoff entries"""
    w = mapping(p, opt, z, labels, opt.mapping_layers)
    ws = w[:, None].repeat(1, opt.num_ws, 1)
    if psi != 1:
        kept = slice(None, cutoff)
        ws[:, kept] = p["mapping.w_avg"] + psi * (ws[:, kept] - p["mapping.w_avg"])
    return ws


def synthesis_layer(p, name, opt, x, w, up=False, noise="const", gain=1.0):
    s = fully_connected(p, f"{name}.affine", w)
    weight = p[f"{name}.weight"]
    d = ((weight[None] * s[:, None, :, None, None]).square().sum((2, 3, 4)) + 1e-8).rsqrt()
    x = x * s[:, :, None, None]
    x = conv_up2(x, weight) if up else F.conv2d(x, weight, padding=1)
    x = x * d[:, :, None, None]
    if noise == "const":
        x = x + p[f"{name}.noise_const"] * p[f"{name}.noise_strength"]
    elif noise == "random":
        x = x + torch.randn_like(x[:, :1]) * p[f"{name}.noise_strength"]
    x = lrelu(x + p[f"{name}.bias"][:, None, None]) * gain
    return clamp(x, opt.conv_clamp and opt.conv_clamp * gain)


def to_rgb(p, name, opt, x, w):
    s = fully_connected(p, f"{name}.affine", w) / math.sqrt(x.shape[1])
    y = F.conv2d(x * s[:, :, None, None], p[f"{name}.weight"]) + p[f"{name}.bias"][:, None, None]
    return clamp(y, opt.conv_clamp)


def synthesis(p, opt, ws, noise="const"):
    """ws [N,num_ws,w_dim] -> images [N,C,H,W]"""
    x = p["synthesis.b4.const"].expand(len(ws), -1, -1, -1)
    image, i = None, 0                                   # i: the next w; toRGB reads it without taking it
    for r in opt.levels:
        name, skip, gain = f"synthesis.b{r}", None, 1.0
        if opt.g_architecture == "resnet" and r > 4:
            weight = p[f"{name}.skip.weight"]
            skip = upsample(F.conv2d(x, weight / math.sqrt(weight.shape[1]))) * SQRT_HALF
            gain = SQRT_HALF
        if r > 4:
            x = synthesis_layer(p, f"{name}.conv0", opt, x, ws[:, i], up=True, noise=noise)
            i += 1
        x = synthesis_layer(p, f"{name}.conv1", opt, x, ws[:, i], noise=noise, gain=gain)
        i += 1
        if skip is not None:
            x = x + skip
        if image is not None:
            image = upsample(image)
        if opt.g_architecture == "skip" or r == opt.height:
            rgb = to_rgb(p, f"{name}.torgb", opt, x, ws[:, i])
            image = rgb if image is None else image + rgb
    return image


# ---- discriminator ------------------------------------------------------------------------------

def conv_layer(p, name, opt, x, down=False, gain=1.0, limited=True):
    w = p[f"{name}.weight"]
    k = w.shape[2]
    w = w / math.sqrt(w.shape[1] * k * k)
    x = conv_down2(x, w) if down else F.conv2d(x, w, padding=k // 2)
    x = lrelu(x + p[f"{name}.bias"][:, None, None]) * gain
    return clamp(x, opt.conv_clamp * gain) if limited and opt.conv_clamp else x


def minibatch_std(x, group, features):
    """Samples n, n + N/group, n + 2N/group, ... share a group. Appends `features` channels."""
    n, c, h, w = x.shape
    group = min(group, n)
    y = x.reshape(group, n // group, features, c // features, h, w)
    std = (y.var(0, unbiased=False) + 1e-8).sqrt()
    std = std.mean((2, 3, 4))                            # [N/group, features]
    return torch.cat([x, std.repeat(group, 1)[:, :, None, None].expand(-1, -1, h, w)], 1)


def discriminator(p, opt, image, labels=None):
    """image [N,C,H,W] -> logits [N,1]"""
    x = None
    for r in opt.levels[:0:-1]:
        name, gain = f"b{r}", 1.0
        if x is None or opt.d_architecture == "skip":
            y = conv_layer(p, f"{name}.fromrgb", opt, image)
            x = y if x is None else x + y
        if opt.d_architecture == "skip":
            image = downsample(image)
        elif opt.d_architecture == "resnet":
            weight = p[f"{name}.skip.weight"]
            skip = F.conv2d(downsample(x), weight / math.sqrt(weight.shape[1])) * SQRT_HALF
            gain = SQRT_HALF
        x = conv_layer(p, f"{name}.conv0", opt, x)
        x = conv_layer(p, f"{name}.conv1", opt, x, down=True, gain=gain)
        if opt.d_architecture == "resnet":
            x = x + skip
    if opt.d_architecture == "skip":
        x = x + conv_layer(p, "b4.fromrgb", opt, image, limited=False)
    x = minibatch_std(x, opt.mbstd_group, opt.mbstd_channels)
    x = conv_layer(p, "b4.conv", opt, x).flatten(1)
    x = fully_connected(p, "b4.fc", x, activate=True)
    x = fully_connected(p, "b4.out", x)
    if opt.c_dim:
        c = mapping(p, opt, None, labels, opt.d_mapping_layers)
        x = (x * c).sum(1, keepdim=True) / math.sqrt(c.shape[1])
    return x
