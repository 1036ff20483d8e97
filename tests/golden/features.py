"""Feature networks in PyTorch, in double precision, on weights that a formula gives: features.safetensors holds their
names, shapes and what comes out. Also weights.pth and weights_old.pth, as torch.save writes them today and did before
2020. Run with PyTorch, NumPy and safetensors in this folder: python3 features.py"""
import math

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)


def numbers(name, count):
    """In [-1, 1): of splitmix64, from FNV-1a of the name on."""
    seed = 0xCBF29CE484222325
    for c in name.encode():
        seed = ((seed ^ c) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1


class Weights:
    """Tensors by name, made when they are asked for; `width` divides the channels."""

    def __init__(self, width):
        self.width, self.shapes, self.ends = width, {}, []  # ends: what stages of convolutional networks make

    def __call__(self, name, *shape):
        self.shapes[name] = shape
        u = torch.from_numpy(numbers(name, math.prod(shape))).reshape(shape)
        if name.startswith("lin"):
            return u.abs()
        if len(shape) > 1:
            return u * math.sqrt(6 / math.prod(shape[1:]))
        if name.endswith("running_var"):
            return 1 + 0.5 * u
        return 1 + 0.2 * u if len(shape) == 1 and name.endswith("weight") else 0.1 * u

    def channels(self, n):
        return n // self.width

    def conv(self, x, name, out, k=1, stride=1, pad=None, groups=1, bias=True):
        kh, kw = k if isinstance(k, tuple) else (k, k)
        pad = (kh // 2, kw // 2) if pad is None else pad
        w = self(name + ".weight", out, x.shape[1] // groups, kh, kw)
        return F.conv2d(x, w, self(name + ".bias", out) if bias else None, stride, pad, 1, groups)

    def norm(self, x, name, eps, by_batch=False):
        c = x.shape[1]
        w, b, mean, var = (self(f"{name}.{t}", c) for t in ("weight", "bias", "running_mean", "running_var"))
        return F.batch_norm(x, None, None, w, b, True, 0, eps) if by_batch else F.batch_norm(x, mean, var, w, b, False, 0, eps)

    def linear(self, x, name, out):
        return F.linear(x, self(name + ".weight", out, x.shape[1]), self(name + ".bias", out))


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(images, by):
    mean, std = (torch.tensor(v)[None, :, None, None] for v in by)
    return (images / 255 - mean) / std


def imagenet(images):
    return normalised(images, IMAGENET)


def inception(w, images, by_batch=False):
    c = w.channels

    def layer(x, name, out, k=1, stride=1, pad=None):
        return F.relu(w.norm(w.conv(x, name + ".conv", c(out), k, stride, pad, bias=False), name + ".bn", 1e-3, by_batch))

    def chain(x, block, name, outs, windows, first=1):
        for i, (out, k) in enumerate(zip(outs, windows)):
            x = layer(x, f"{block}.{name}_{i + first}", out, k)
        return x

    def mean(x):
        ones = torch.ones_like(x[:1, :1])
        count = F.avg_pool2d(ones, 3, 1, 1) * 9
        return F.avg_pool2d(x, 3, 1, 1) * 9 / count

    x = (images - 128) / 128
    x = layer(x, "Conv2d_1a_3x3", 32, 3, 2, 0)
    x = layer(x, "Conv2d_2a_3x3", 32, 3, 1, 0)
    x = layer(x, "Conv2d_2b_3x3", 64, 3)
    x = F.max_pool2d(x, 3, 2)
    x = layer(x, "Conv2d_3b_1x1", 80)
    x = layer(x, "Conv2d_4a_3x3", 192, 3, 1, 0)
    x = F.max_pool2d(x, 3, 2)
    for b, pool in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = torch.cat([layer(x, b + ".branch1x1", 64), chain(x, b, "branch5x5", (48, 64), (1, 5)),
                       chain(x, b, "branch3x3dbl", (64, 96, 96), (1, 3, 3)), layer(mean(x), b + ".branch_pool", pool)], 1)
    b = "Mixed_6a"
    x = torch.cat([layer(x, b + ".branch3x3", 384, 3, 2, 0),
                   layer(chain(x, b, "branch3x3dbl", (64, 96), (1, 3)), b + ".branch3x3dbl_3", 96, 3, 2, 0),
                   F.max_pool2d(x, 3, 2)], 1)
    for b, n in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        x = torch.cat([layer(x, b + ".branch1x1", 192), chain(x, b, "branch7x7", (n, n, 192), (1, (1, 7), (7, 1))),
                       chain(x, b, "branch7x7dbl", (n, n, n, n, 192), (1, (7, 1), (1, 7), (7, 1), (1, 7))),
                       layer(mean(x), b + ".branch_pool", 192)], 1)
    b = "Mixed_7a"
    x = torch.cat([layer(layer(x, b + ".branch3x3_1", 192), b + ".branch3x3_2", 320, 3, 2, 0),
                   layer(chain(x, b, "branch7x7x3", (192, 192, 192), (1, (1, 7), (7, 1))), b + ".branch7x7x3_4", 192, 3, 2, 0),
                   F.max_pool2d(x, 3, 2)], 1)
    for b, pool in (("Mixed_7b", mean), ("Mixed_7c", lambda t: F.max_pool2d(t, 3, 1, 1))):
        h, g = layer(x, b + ".branch3x3_1", 384), chain(x, b, "branch3x3dbl", (448, 384), (1, 3))
        x = torch.cat([layer(x, b + ".branch1x1", 320),
                       layer(h, b + ".branch3x3_2a", 384, (1, 3)), layer(h, b + ".branch3x3_2b", 384, (3, 1)),
                       layer(g, b + ".branch3x3dbl_3a", 384, (1, 3)), layer(g, b + ".branch3x3dbl_3b", 384, (3, 1)),
                       layer(pool(x), b + ".branch_pool", 192)], 1)
    features = x.mean((2, 3))
    return features, w.linear(features, "fc", c(1008)) - w("fc.bias", c(1008))


def vgg16_stages(w, x):
    stages, number = [], 0
    for out, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            x = F.relu(w.conv(x, f"features.{number}", w.channels(out), 3))
            number += 2
        stages.append(x)
        x = F.max_pool2d(x, 2)
        number += 1
    return stages


def vgg16(w, images):
    x = F.max_pool2d(vgg16_stages(w, imagenet(images))[-1], 2).flatten(1)
    x = F.relu(w.linear(x, "classifier.0", w.channels(4096)))
    x = F.relu(w.linear(x, "classifier.3", w.channels(4096)))
    return x, w.linear(x, "classifier.6", w.channels(1000))


def vgg16_antialiased_levels(w, x):
    """As clip_levels, with one map. Pools are the maximum of neighbours, then a blur that leaves every other pixel out."""
    number, taps = 0, torch.tensor([1.0, 3, 3, 1]) / 8
    for out, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            x = F.relu(w.conv(x, f"features.{number}", w.channels(out), 3))
            number += 2
        number += 2
        c = x.shape[1]
        x = F.pad(F.max_pool2d(x, 2, 1), (1, 2, 1, 2), "reflect")
        x = F.conv2d(x, torch.outer(taps, taps).expand(c, 1, 4, 4), stride=2, groups=c)
    w("features.35.filt", c, 1, 4, 4)  # files have it, for each channel
    return [x.permute(0, 2, 3, 1)], x.mean((2, 3))


def squeezenet_stages(w, x):
    c = w.channels
    x = F.relu(w.conv(x, "features.0", c(64), 3, 2, 0))
    stages = [x]
    for number, squeeze, expand in ((3, 16, 64), (4, 16, 64), (6, 32, 128), (7, 32, 128), (9, 48, 192), (10, 48, 192),
                                    (11, 64, 256), (12, 64, 256)):
        if number in (3, 6, 9):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        h = F.relu(w.conv(x, f"features.{number}.squeeze", c(squeeze)))
        x = torch.cat([F.relu(w.conv(h, f"features.{number}.expand1x1", c(expand))),
                       F.relu(w.conv(h, f"features.{number}.expand3x3", c(expand), 3))], 1)
        if number in (4, 7, 9, 10, 11, 12):
            stages.append(x)
    return stages


def squeezenet(w, images):
    x = squeezenet_stages(w, imagenet(images))[-1]
    return x.mean((2, 3)), F.relu(w.conv(x, "classifier.1", w.channels(1000))).mean((2, 3))


def mobilenet_v2(w, images):
    c = w.channels

    def layer(x, conv, norm, out, k=1, stride=1, groups=1, relu=True):
        x = w.norm(w.conv(x, conv, out, k, stride, groups=groups, bias=False), norm, 1e-5)
        return F.relu6(x) if relu else x

    x = layer(imagenet(images), "features.0.0", "features.0.1", c(32), 3, 2)
    number = 1
    for t, out, count, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                                  (6, 320, 1, 1)):
        for i in range(count):
            at, first, h = f"features.{number}.conv.", int(t > 1), x
            hidden = t * x.shape[1]
            if first:
                h = layer(h, at + "0.0", at + "0.1", hidden)
            h = layer(h, f"{at}{first}.0", f"{at}{first}.1", hidden, 3, 1 if i else stride, hidden)
            h = layer(h, f"{at}{first + 1}", f"{at}{first + 2}", c(out), relu=False)
            x = x + h if i else h
            number += 1
        w.ends.append(x)
    x = layer(x, "features.18.0", "features.18.1", c(1280)).mean((2, 3))
    return x, w.linear(x, "classifier.1", c(1000))


def efficientnet_lite1(w, images):
    c = w.channels

    def layer(x, conv, norm, out, k=1, stride=1, groups=1, relu=True):
        before, after = ((max(0, (-(-n // stride) - 1) * stride + k - n) + s) // 2 for n, s in ((x.shape[2], 0), (x.shape[2], 1)))
        x = F.pad(x, (before, after, before, after))
        x = w.norm(w.conv(x, conv, out, k, stride, 0, groups, bias=False), norm, 1e-3)
        return F.relu6(x) if relu else x

    x = layer((images - 127) / 128, "_conv_stem", "_bn0", c(32), 3, 2)
    number = 0
    for t, out, count, k, stride in ((1, 16, 1, 3, 1), (6, 24, 3, 3, 2), (6, 40, 3, 5, 2), (6, 80, 4, 3, 2), (6, 112, 4, 5, 1),
                                     (6, 192, 5, 5, 2), (6, 320, 1, 3, 1)):
        for i in range(count):
            at, h, hidden = f"_blocks.{number}.", x, t * x.shape[1]
            if t > 1:
                h = layer(h, at + "_expand_conv", at + "_bn0", hidden)
            h = layer(h, at + "_depthwise_conv", at + "_bn1", hidden, k, 1 if i else stride, hidden)
            h = layer(h, at + "_project_conv", at + "_bn2", c(out), relu=False)
            x = x + h if i else h
            number += 1
        w.ends.append(x)
    x = layer(x, "_conv_head", "_bn1", c(1280)).mean((2, 3))
    return x, w.linear(x, "_fc", c(1000))


def attention(qkv, heads):
    q, k, v = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in qkv.chunk(3, 2))
    weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[3]), 3)
    return (weights @ v).transpose(1, 2).flatten(2)


def layer_norm(w, x, name, eps):
    return F.layer_norm(x, x.shape[-1:], w(name + ".weight", x.shape[-1]), w(name + ".bias", x.shape[-1]), eps)


def grid_of(tokens):
    """Tokens without the first, as [N,h,w,C]."""
    side = math.isqrt(tokens.shape[1] - 1)
    return tokens[:, 1:].unflatten(1, (side, side))


def clip_levels(w, x, channels, depth=12):
    """Of normalised images: tokens behind blocks 4 and 8, and what comes out."""
    c = w.channels(channels)
    x = w.conv(x, "visual.conv1", c, 32, 32, 0, bias=False).flatten(2).mT
    x = torch.cat([w("visual.class_embedding", c).expand(x.shape[0], 1, c), x], 1)
    x = layer_norm(w, x + w("visual.positional_embedding", x.shape[1], c), "visual.ln_pre", 1e-5)
    maps = []
    for i in range(depth):
        at = f"visual.transformer.resblocks.{i}."
        h = layer_norm(w, x, at + "ln_1", 1e-5)
        h = F.linear(h, w(at + "attn.in_proj_weight", 3 * c, c), w(at + "attn.in_proj_bias", 3 * c))
        x = x + F.linear(attention(h, c // 64), w(at + "attn.out_proj.weight", c, c), w(at + "attn.out_proj.bias", c))
        h = F.linear(layer_norm(w, x, at + "ln_2", 1e-5), w(at + "mlp.c_fc.weight", 4 * c, c), w(at + "mlp.c_fc.bias", 4 * c))
        h = h * torch.sigmoid(1.702 * h)
        x = x + F.linear(h, w(at + "mlp.c_proj.weight", c, 4 * c), w(at + "mlp.c_proj.bias", c))
        if i + 1 in (4, 8):
            maps.append(grid_of(x))
    return maps, layer_norm(w, x[:, 0], "visual.ln_post", 1e-5) @ w("visual.proj", c, w.channels(512))


def dino_levels(w, x, channels, patch, side, scales, depth=12):
    """As clip_levels, behind blocks 5 and 9. The file has side^2 places; scales: LayerScale."""
    c = w.channels(channels)

    def linear(x, name, out):
        return F.linear(x, w(name + ".weight", out, x.shape[-1]), w(name + ".bias", out))

    x = w.conv(x, "patch_embed.proj", c, patch, patch, 0)
    grid = x.shape[2]
    x = x.flatten(2).mT
    places = w("pos_embed", 1, side * side + 1, c)
    if grid != side:
        rest = places[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        factor = (grid + 0.1) / side
        rest = F.interpolate(rest, scale_factor=(factor, factor), mode="bicubic")
        places = torch.cat([places[:, :1], rest.flatten(2).mT], 1)
    x = torch.cat([w("cls_token", 1, 1, c).expand(x.shape[0], 1, c), x], 1) + places
    maps = []
    for i in range(depth):
        at = f"blocks.{i}."
        h = linear(attention(linear(layer_norm(w, x, at + "norm1", 1e-6), at + "attn.qkv", 3 * c), c // 64), at + "attn.proj", c)
        x = x + (h * w(at + "ls1.gamma", c) if scales else h)
        h = linear(F.gelu(linear(layer_norm(w, x, at + "norm2", 1e-6), at + "mlp.fc1", 4 * c)), at + "mlp.fc2", c)
        x = x + (h * w(at + "ls2.gamma", c) if scales else h)
        if i + 1 in (5, 9):
            maps.append(layer_norm(w, x, "norm", 1e-6))
    return [grid_of(m) for m in maps], layer_norm(w, x, "norm", 1e-6)[:, 0]


def swin_levels(w, x, before="", last="norm", channels=96, window=7):
    """As clip_levels, with one map. Windows, their mask and their order are those of the paper's code, by index; maps are
    padded by zeros behind their norm, which are seen. `before`: of names."""
    c = w.channels(channels)

    def linear(x, name, out, bias=True):
        return F.linear(x, w(name + ".weight", out, x.shape[-1]), w(name + ".bias", out) if bias else None)

    x = w.conv(x, before + "patch_embed.proj", c, 4, 4, 0).permute(0, 2, 3, 1)
    x = layer_norm(w, x, before + "patch_embed.norm", 1e-5)
    rows, columns = (t.flatten() for t in torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"))
    places = (rows[:, None] - rows + window - 1) * (2 * window - 1) + columns[:, None] - columns + window - 1
    for stage, depth in enumerate((2, 2, 6, 2)):
        n, inner, _, c = x.shape
        heads, side = c // 32, -(-inner // window) * window
        for i in range(depth):
            at, shift = f"{before}layers.{stage}.blocks.{i}.", window // 2 if i % 2 and side > window else 0
            h = F.pad(layer_norm(w, x, at + "norm1", 1e-5), (0, 0, 0, side - inner, 0, side - inner))
            h = linear(torch.roll(h, (-shift, -shift), (1, 2)), at + "attn.qkv", 3 * c)
            # pixels of the image as it was before it was rolled: neighbours only see each other where they were near
            was = (torch.arange(side) + shift) % side
            table = w(at + "attn.relative_position_bias_table", (2 * window - 1) ** 2, heads)
            bias = table[places].permute(2, 0, 1)
            out = torch.empty(n, side, side, c)
            for r in range(0, side, window):
                for s in range(0, side, window):
                    q, k, v = h[:, r:r + window, s:s + window].reshape(n, window**2, 3, heads, 32).permute(2, 0, 3, 1, 4)
                    y, z = was[r:r + window][rows], was[s:s + window][columns]
                    near = ((y[:, None] - y).abs() < window) & ((z[:, None] - z).abs() < window)
                    score = q @ k.mT / math.sqrt(32) + bias + torch.where(near, 0.0, -100.0)
                    part = (torch.softmax(score, 3) @ v).transpose(1, 2).reshape(n, window, window, c)
                    out[:, r:r + window, s:s + window] = part
            x = x + torch.roll(linear(out, at + "attn.proj", c), (shift, shift), (1, 2))[:, :inner, :inner]
            h = F.gelu(linear(layer_norm(w, x, at + "norm2", 1e-5), at + "mlp.fc1", 4 * c))
            x = x + linear(h, at + "mlp.fc2", c)
        if stage < 3:
            at = f"{before}layers.{stage}.downsample."
            x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], 3)
            x = linear(layer_norm(w, x, at + "norm", 1e-5), at + "reduction", 2 * c, bias=False)
    x = layer_norm(w, x, before + last, 1e-5)
    return [x], x.mean((1, 2))


def swin_coco_levels(w, x):
    w("roi_head.bbox_head.0.fc_cls.weight", 81, w.channels(1024))  # by which files are known
    return swin_levels(w, x, "backbone.", "norm3")


def swin_ade_levels(w, x):
    w("decode_head.conv_seg.weight", 150, w.channels(512), 1, 1)
    return swin_levels(w, x, "backbone.", "norm3")


def unet_faces_levels(w, x):
    """As clip_levels, with one map: the centre of a U-Net, halved."""
    for i, stage in enumerate(("conv1", "conv2", "conv3", "conv4", "center")):
        x = F.max_pool2d(x, 2) if i else x
        for conv in (".conv1.", ".conv2."):
            x = F.relu(w.norm(w.conv(x, f"{stage}{conv}0", w.channels(16 << i), 3), f"{stage}{conv}1", 1e-5))
    return [F.avg_pool2d(x, 2).permute(0, 2, 3, 1)], x.mean((2, 3))


def resnet18_normals_levels(w, x):
    """As clip_levels, with one map."""

    def layer(x, conv, norm, out, k=3, stride=1):
        return w.norm(w.conv(x, conv, out, k, stride, bias=False), norm, 1e-5)

    x = F.max_pool2d(F.relu(layer(x, "layer0.0", "layer0.1", w.channels(64), 7, 2)), 3, 2, 1)
    for stage in range(4):
        for i in range(2):
            at, out, stride = f"layer{stage + 1}.{'1.' * (stage == 0)}{i}.", w.channels(64 << stage), 1 + (stage > 0 and i == 0)
            h = layer(F.relu(layer(x, at + "conv1", at + "bn1", out, 3, stride)), at + "conv2", at + "bn2", out)
            if stride > 1:
                x = layer(x, at + "downsample.0", at + "downsample.1", out, 1, 2)
            x = F.relu(h + x)
    return [x.permute(0, 2, 3, 1)], x.mean((2, 3))


CLIP_NORMALISATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
WITH_LEVELS = {  # by what images are normalised, their rows, and widths
    "clip-vit-b32": (lambda w, x: clip_levels(w, x, 768), CLIP_NORMALISATION, 224, (6, 3)),
    "dino-vit-b16": (lambda w, x: dino_levels(w, x, 768, 16, 14, False), IMAGENET, 224, (6, 3)),
    "dinov2-vit-s14": (lambda w, x: dino_levels(w, x, 384, 14, 37, True), IMAGENET, 224, (6, 3)),
    "swin-t": (swin_levels, IMAGENET, 224, (3,)),
    "swin-t-coco": (swin_coco_levels, IMAGENET, 256, (3,)),
    "swin-t-ade": (swin_ade_levels, IMAGENET, 256, ()),
    "vgg16-antialiased": (vgg16_antialiased_levels, IMAGENET, 224, (16, 8)),
    "unet-faces": (unet_faces_levels, ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), 256, (4, 1)),
    "resnet18-normals": (resnet18_normals_levels, ((0, 0, 0), (1, 1, 1)), 256, (8, 4))}


def lpips(w, stages, a, b):
    shift, scale = (torch.tensor(v)[None, :, None, None] for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    distance = 0
    for i, (f, g) in enumerate(zip(*(stages(w, (x - shift) / scale) for x in (a, b)))):
        f, g = (x / (x.norm(dim=1, keepdim=True) + 1e-10) for x in (f, g))
        distance = distance + F.conv2d((f - g) ** 2, w(f"lin{i}.model.1.weight", 1, f.shape[1], 1, 1)).mean((2, 3))
    return distance.flatten()


def images(name, count, size):
    """Noise from 0 to 255; the formula counts it as NHWC."""
    u = torch.from_numpy(numbers(name, count * size * size * 3)).reshape(count, size, size, 3).permute(0, 3, 1, 2)
    return 127.5 + 127.5 * u


def state_dict():
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return torch.nn.Module().state_dict() | {
        "plain": base / 8, "turned": base.t(), "part": base[1:3, 2:4], "half": base[0].half(), "brain": base[0].bfloat16(),
        "double": base[0].double(), "count": torch.tensor(7), "bytes": torch.tensor([1, 2, 255], dtype=torch.uint8),
        "flag": torch.tensor(True), "empty": torch.zeros(0, 3, dtype=torch.float32),
        "parameter": torch.nn.Parameter(base[3]), "within": {"it": base[2]}, "step": 3, "note": "none"}


def main():
    found, names = {}, {}

    def keep(key, w, **results):
        names[key] = "\n".join(f"{n} {' '.join(map(str, s))}" for n, s in w.shapes.items())
        found.update({f"{key}.{n}": t.contiguous() for n, t in results.items()})

    networks = {"inception": (inception, 299, (16, 4)), "vgg16": (vgg16, 224, (16, 8)),
                "squeezenet": (squeezenet, 224, (8, 1)), "mobilenetv2": (mobilenet_v2, 224, (8, 1)),
                "efficientnet-lite1": (efficientnet_lite1, 240, (8, 1))}
    for name, (network, size, widths) in networks.items():
        for width in widths:
            w = Weights(width)
            features, logits = network(w, images("images", 2, size))
            keep(f"{name}/{width}", w, features=features, logits=logits)
        for i, stage in enumerate((1, 2, 4, 6) if w.ends else ()):
            found[f"{name}.pyramid.{i}"] = w.ends[stage][:1, :, ::3, ::4].permute(0, 2, 3, 1)[..., ::9].contiguous()
        if 1 not in widths:  # the published shapes, for benchmarks
            w = Weights(1)
            network(w, images("images", 1, size))
            keep(f"{name}/1", w)
    for name, (levels, by, size, widths) in WITH_LEVELS.items():
        for width in widths:
            w = Weights(width)
            keep(f"{name}/{width}", w, features=levels(w, normalised(images("images", 2, size), by))[1])
        for width in widths[:1]:
            w = Weights(width)
            x = images("levels", 1, size) / 64 - 2
            with torch.enable_grad():
                x.requires_grad_()
                maps, pooled = levels(w, x)
                seen = [*(m[:, 1::3, 2::4, ::5] for m in maps), pooled]
                (g,) = torch.autograd.grad(sum((t**2).sum() for t in [*maps, pooled]), x)
            found.update({f"{name}.levels.{i}": t.detach().contiguous() for i, t in enumerate(seen)})
            found[f"{name}.levels.gradient"] = g.permute(0, 2, 3, 1)[:, 3::37, 5::31].contiguous()
        if 1 in widths:
            continue
        w = Weights(1)  # the published shapes
        levels(w, imagenet(images("images", 1, size)))
        keep(f"{name}/1", w)
    w = Weights(16)
    features, logits = inception(w, images("images", 3, 299), True)
    keep("inception by batch/16", w, features=features, logits=logits)
    for name, stages, width in (("vgg16", vgg16_stages, 16), ("squeezenet", squeezenet_stages, 8)):
        w = Weights(width)
        a, b = (images(n, 2, 50) / 127.5 - 1 for n in ("a", "b"))
        distance = lpips(w, stages, a, b)
        keep(f"lpips {name}/{width}", w, distance=distance)
    save_file(found, "features.safetensors", names)
    torch.save(state_dict(), "weights.pth")
    torch.save(state_dict(), "weights_old.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    with torch.no_grad():
        main()
