#!/usr/bin/env python3
"""published/: files as other programs write them, of small networks with random weights: the names of classes, modules and tensors
are the originals', the code behind them is not here. `expected.safetensors` holds what the networks make, by functions
below that read each file's own names as its program does. Run with torch, numpy and safetensors in this folder:
python3 published.py"""
import argparse
import math
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = Path(__file__).parent / "published"
rng = np.random.default_rng(7)
expected = {}
FIR = torch.tensor([1.0, 3, 3, 1]).double()
FIR = torch.outer(FIR, FIR) / 64


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def t64(a):
    return torch.as_tensor(np.asarray(a)).double()


def module(name, **members):
    """A module of this name, in which pickle finds the members."""
    m = sys.modules.setdefault(name, types.ModuleType(name))
    for key, value in members.items():
        setattr(m, key, value)
        if isinstance(value, (type, types.FunctionType)):
            value.__module__, value.__qualname__ = name, key
    return m


# ---- what both conventions of StyleGAN2 share

def fir(x, gain, pad, down=1):
    c = x.shape[1]
    return F.conv2d(F.pad(x, (*pad, *pad)), (FIR * gain)[None, None].repeat(c, 1, 1, 1), groups=c)[:, :, ::down, ::down]


def upsample(x):
    n, c, h, w = x.shape
    y = x.new_zeros(n, c, h, 2, w, 2)
    y[:, :, :, 0, :, 0] = x
    return fir(y.reshape(n, c, 2 * h, 2 * w), 4, (2, 1))


def modulated(x, w, s, up=False, demodulate=True):
    """w [O,I,k,k], scaled by 1 / sqrt(fan in) as both programs do."""
    n, i, h, width = x.shape
    o, _, k, _ = w.shape
    ww = w[None] / math.sqrt(i * k * k) * s[:, None, :, None, None]
    if demodulate:
        ww = ww / torch.sqrt((ww**2).sum((2, 3, 4), keepdim=True) + 1e-8)
    if up:
        y = torch.cat([F.conv_transpose2d(x[b:b + 1], ww[b].transpose(0, 1), stride=2) for b in range(n)])
        return fir(y, 4, (1, 1))
    return torch.cat([F.conv2d(x[b:b + 1], ww[b], padding=k // 2) for b in range(n)])


def lrelu(x):
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def dense(x, w, b, lr=1.0):
    """w [O,I]"""
    return x @ (w * lr / math.sqrt(w.shape[1])).T + b * lr


def mapping(z, layers):
    x = z / torch.sqrt((z**2).mean(1, keepdim=True) + 1e-8)
    for w, b in layers:
        x = lrelu(dense(x, w, b, 0.01))
    return x


def synthesis(w, const, layers, rgbs):
    """layers: conv1 of 4, then conv0 and conv1 of each size; each (weight, style, bias, strength, noise)."""
    x, image = const.repeat(len(w), 1, 1, 1), None
    for i, (weight, (sw, sb), bias, strength, noise) in enumerate(layers):
        x = modulated(x, weight, dense(w, sw, sb), up=i % 2 == 1)
        x = lrelu(x + noise * strength + bias[:, None, None])
        if i % 2 == 0:
            weight, (sw, sb), bias = rgbs[i // 2]
            rgb = modulated(x, weight, dense(w, sw, sb), demodulate=False) + bias[:, None, None]
            image = rgb if image is None else upsample(image) + rgb
    return image


def equal_conv(x, w, b=None, stride=1, pad=0):
    return F.conv2d(x, w / math.sqrt(w[0].numel()), b, stride, pad)


def discriminate(x, from_rgb, blocks, conv, fc, out):
    """blocks: ((conv0, bias), (conv1, bias), skip); group of minibatch-stddev: the batch"""
    x = lrelu(equal_conv(x, *from_rgb))
    for (w0, b0), (w1, b1), skip in blocks:
        y = lrelu(equal_conv(x, w0, b0, pad=1))
        y = lrelu(equal_conv(fir(y, 1, (2, 2)), w1, b1, stride=2))
        x = (y + equal_conv(fir(x, 1, (1, 1), down=2), skip)) / math.sqrt(2)
    std = torch.sqrt(x.var(0, unbiased=False) + 1e-8).mean()
    x = torch.cat([x, std.expand(len(x), 1, *x.shape[2:])], 1)
    x = lrelu(equal_conv(x, *conv, pad=1)).flatten(1)
    return dense(lrelu(dense(x, *fc)), *out)


Z, W, C, SIZES = 6, 8, {4: 8, 8: 6}, [4, 8]
z = normal(2, Z)
z = np.concatenate([z, normal(2, W - Z)], 1)  # z and w are equally long where it cannot be told
expected["z"] = torch.from_numpy(z)
images = normal(3, 3, 8, 8)
expected["images"] = torch.from_numpy(images)


# ---- rosinality/stylegan2-pytorch

def rosinality():
    g, d = OrderedDict(), OrderedDict()
    for i in range(1, 4):
        g[f"style.{i}.weight"], g[f"style.{i}.bias"] = normal(W, W) * 100, normal(W) * 10
    g["input.input"] = normal(1, C[4], 4, 4)

    def styled(name, o, i, r, up):
        g[f"{name}.conv.weight"] = normal(1, o, i, 3, 3)
        if up:
            g[f"{name}.conv.blur.kernel"] = (FIR * 4).float().numpy()
        g[f"{name}.conv.modulation.weight"], g[f"{name}.conv.modulation.bias"] = normal(i, W), 1 + 0.1 * normal(i)
        g[f"{name}.noise.weight"], g[f"{name}.activate.bias"] = normal(1), normal(o)

    def to_rgb(name, i):
        g[f"{name}.bias"], g[f"{name}.conv.weight"] = normal(1, 3, 1, 1), normal(1, 3, i, 1, 1)
        g[f"{name}.conv.modulation.weight"], g[f"{name}.conv.modulation.bias"] = normal(i, W), 1 + 0.1 * normal(i)

    styled("conv1", C[4], C[4], 4, False)
    to_rgb("to_rgb1", C[4])
    styled("convs.0", C[8], C[4], 8, True)
    styled("convs.1", C[8], C[8], 8, False)
    g["to_rgbs.0.upsample.kernel"] = (FIR * 4).float().numpy()
    to_rgb("to_rgbs.0", C[8])
    for i in range(3):
        g[f"noises.noise_{i}"] = normal(1, 1, *[2 ** ((i + 5) // 2)] * 2)

    d["convs.0.0.weight"], d["convs.0.1.bias"] = normal(C[8], 3, 1, 1), normal(C[8])
    d["convs.1.conv1.0.weight"], d["convs.1.conv1.1.bias"] = normal(C[8], C[8], 3, 3), normal(C[8])
    d["convs.1.conv2.0.kernel"] = FIR.float().numpy()
    d["convs.1.conv2.1.weight"], d["convs.1.conv2.2.bias"] = normal(C[4], C[8], 3, 3), normal(C[4])
    d["convs.1.skip.0.kernel"], d["convs.1.skip.1.weight"] = FIR.float().numpy(), normal(C[4], C[8], 1, 1)
    d["final_conv.0.weight"], d["final_conv.1.bias"] = normal(C[4], C[4] + 1, 3, 3), normal(C[4])
    d["final_linear.0.weight"], d["final_linear.0.bias"] = normal(C[4], 16 * C[4]), normal(C[4])
    d["final_linear.1.weight"], d["final_linear.1.bias"] = normal(1, C[4]), normal(1)

    tensors = lambda state: OrderedDict((k, torch.from_numpy(np.ascontiguousarray(v))) for k, v in state.items())
    p = torch.nn.Parameter(torch.from_numpy(z.copy()))
    p.grad = torch.ones_like(p)
    adam = torch.optim.Adam([p])
    adam.step()
    torch.save({"g": tensors(g), "d": tensors(d), "g_ema": tensors(g), "g_optim": adam.state_dict(),
                "args": argparse.Namespace(size=8, path="faces", lr=0.002, augment=False), "ada_aug_p": 0.0},
               HERE / "rosinality.pt")

    def layer(name, noise):
        return (t64(g[f"{name}.conv.weight"])[0],
                (t64(g[f"{name}.conv.modulation.weight"]), t64(g[f"{name}.conv.modulation.bias"])),
                t64(g[f"{name}.activate.bias"]), t64(g[f"{name}.noise.weight"]), t64(g[f"noises.noise_{noise}"])[0, 0])

    def rgb(name):
        return (t64(g[f"{name}.conv.weight"])[0],
                (t64(g[f"{name}.conv.modulation.weight"]), t64(g[f"{name}.conv.modulation.bias"])),
                t64(g[f"{name}.bias"]).flatten())

    w = mapping(t64(z), [(t64(g[f"style.{i}.weight"]), t64(g[f"style.{i}.bias"])) for i in range(1, 4)])
    expected["rosinality.g"] = synthesis(w, t64(g["input.input"]), [layer("conv1", 0), layer("convs.0", 1), layer("convs.1", 2)],
                                         [rgb("to_rgb1"), rgb("to_rgbs.0")])
    of = lambda *names: tuple(t64(d[n]) for n in names)
    expected["rosinality.d"] = discriminate(
        t64(images), of("convs.0.0.weight", "convs.0.1.bias"),
        [(of("convs.1.conv1.0.weight", "convs.1.conv1.1.bias"), of("convs.1.conv2.1.weight", "convs.1.conv2.2.bias"),
          t64(d["convs.1.skip.1.weight"]))],
        of("final_conv.0.weight", "final_conv.1.bias"), of("final_linear.0.weight", "final_linear.0.bias"),
        of("final_linear.1.weight", "final_linear.1.bias"))


# ---- NVIDIA's TensorFlow code

class Network:
    def __init__(self, name, variables, static_kwargs, components):
        self.state = dict(version=4, name=name, static_kwargs=static_kwargs, components=components,
                          build_module_src="raise SystemExit", build_func_name=name, variables=list(variables.items()))

    def __getstate__(self):
        return self.state


class EasyDict(dict):
    pass


module("dnnlib")
module("dnnlib.tflib")
module("dnnlib.tflib.network", Network=Network)
module("dnnlib.util", EasyDict=EasyDict)


def tensorflow():
    m, s, d = OrderedDict(), OrderedDict(), OrderedDict()
    for i in range(3):
        m[f"Dense{i}/weight"], m[f"Dense{i}/bias"] = normal(W, W) * 100, normal(W) * 10
    s["lod"] = np.float32(0)
    s["4x4/Const/const"] = normal(1, C[4], 4, 4)

    def styled(name, o, i, k=3):
        s[f"{name}/weight"] = normal(k, k, i, o)
        s[f"{name}/mod_weight"], s[f"{name}/mod_bias"] = normal(W, i), 0.1 * normal(i)
        if k == 3:
            s[f"{name}/noise_strength"] = normal(1)[0]
        s[f"{name}/bias"] = normal(o)

    styled("4x4/Conv", C[4], C[4])
    styled("4x4/ToRGB", 3, C[4], 1)
    styled("8x8/Conv0_up", C[8], C[4])
    styled("8x8/Conv1", C[8], C[8])
    styled("8x8/ToRGB", 3, C[8], 1)
    for i in range(3):
        s[f"noise{i}"] = normal(1, 1, *[2 ** ((i + 5) // 2)] * 2)
    d["8x8/FromRGB/weight"], d["8x8/FromRGB/bias"] = normal(1, 1, 3, C[8]), normal(C[8])
    d["8x8/Conv0/weight"], d["8x8/Conv0/bias"] = normal(3, 3, C[8], C[8]), normal(C[8])
    d["8x8/Conv1_down/weight"], d["8x8/Conv1_down/bias"] = normal(3, 3, C[8], C[4]), normal(C[4])
    d["8x8/Skip/weight"] = normal(1, 1, C[8], C[4])
    d["4x4/Conv/weight"], d["4x4/Conv/bias"] = normal(3, 3, C[4] + 1, C[4]), normal(C[4])
    d["4x4/Dense0/weight"], d["4x4/Dense0/bias"] = normal(16 * C[4], C[4]), normal(C[4])
    d["Output/weight"], d["Output/bias"] = normal(C[4], 1), normal(1)
    w_avg = normal(W)

    def g(name):
        parts = EasyDict(synthesis=Network("G_synthesis", s, EasyDict(), EasyDict()),
                         mapping=Network("G_mapping", m, EasyDict(), EasyDict()))
        return Network(name, OrderedDict(dlatent_avg=w_avg, lod=np.float32(0)),
                       EasyDict(num_channels=3, resolution=8, label_size=0, fmap_base=24), parts)

    whole = (g("G"), Network("D", d, EasyDict(resolution=8, mbstd_group_size=3), EasyDict()), g("Gs"))
    with open(HERE / "tensorflow.pkl", "wb") as f:  # as NumPy named its modules then
        f.write(pickle.dumps(whole, protocol=2).replace(b"cnumpy._core.", b"cnumpy.core."))

    def layer(name, noise, up=False):
        w = t64(s[f"{name}/weight"]).permute(3, 2, 0, 1)
        return (w.flip(2, 3) if up else w, (t64(s[f"{name}/mod_weight"]).T, t64(s[f"{name}/mod_bias"]) + 1),
                t64(s[f"{name}/bias"]), t64(s[f"{name}/noise_strength"]), t64(s[f"noise{noise}"])[0, 0])

    def rgb(name):
        return (t64(s[f"{name}/weight"]).permute(3, 2, 0, 1), (t64(s[f"{name}/mod_weight"]).T, t64(s[f"{name}/mod_bias"]) + 1),
                t64(s[f"{name}/bias"]))

    w = mapping(t64(z), [(t64(m[f"Dense{i}/weight"]).T, t64(m[f"Dense{i}/bias"])) for i in range(3)])
    expected["tensorflow.g"] = synthesis(
        t64(w_avg) + 0.5 * (w - t64(w_avg)), t64(s["4x4/Const/const"]),
        [layer("4x4/Conv", 0), layer("8x8/Conv0_up", 1, up=True), layer("8x8/Conv1", 2)], [rgb("4x4/ToRGB"), rgb("8x8/ToRGB")])
    conv = lambda name: (t64(d[f"{name}/weight"]).permute(3, 2, 0, 1), t64(d[f"{name}/bias"]))
    fc = lambda name: (t64(d[f"{name}/weight"]).T, t64(d[f"{name}/bias"]))
    expected["tensorflow.d"] = discriminate(
        t64(images), conv("8x8/FromRGB"),
        [(conv("8x8/Conv0"), conv("8x8/Conv1_down"), t64(d["8x8/Skip/weight"]).permute(3, 2, 0, 1))],
        conv("4x4/Conv"), fc("4x4/Dense0"), fc("Output"))


# ---- NVIDIA's PyTorch code: modules that say how they were made

def _reconstruct_persistent_obj(meta):
    raise RuntimeError("this would run meta['module_src']")


module("torch_utils")
module("torch_utils.persistence", _reconstruct_persistent_obj=_reconstruct_persistent_obj)


class Persistent(torch.nn.Module):
    def __init__(self, class_name, kwargs=None):
        super().__init__()
        self.class_name, self._init_args, self._init_kwargs = class_name, (), EasyDict(kwargs or {})

    def __reduce__(self):
        state = dict(self.__dict__)
        meta = dict(type="class", version=6, module_src="raise SystemExit", class_name=state.pop("class_name"), state=state)
        return _reconstruct_persistent_obj, (meta,)


def tree(root, tensors, buffers):
    for name, value in tensors.items():
        *path, leaf = name.split(".")
        m = root
        for part in path:
            if part not in m._modules:
                m.add_module(part, Persistent("Layer"))
            m = m._modules[part]
        value = torch.from_numpy(np.array(value))
        m.register_buffer(leaf, value) if name in buffers else m.register_parameter(leaf, torch.nn.Parameter(value))
    return root


class Ensemble(torch.nn.Module):  # of a package: pickled as its class is
    pass


class Judge:  # of which nothing is known
    def __reduce__(self):
        return Judge, ()


module("vision_aided_loss")
module("vision_aided_loss.cv_discriminator", Ensemble=Ensemble, Judge=Judge)


def nvidia():
    g = OrderedDict()
    for i in range(2):
        g[f"mapping.fc{i}.weight"], g[f"mapping.fc{i}.bias"] = normal(W, Z if i == 0 else W) * 100, normal(W) * 10
    g["mapping.w_avg"] = normal(W)
    g["synthesis.b4.const"] = normal(C[4], 4, 4)

    def styled(name, o, i, r, k=3):
        g[f"{name}.weight"], g[f"{name}.bias"] = normal(o, i, k, k), normal(o)
        g[f"{name}.affine.weight"], g[f"{name}.affine.bias"] = normal(i, W), 1 + 0.1 * normal(i)
        if k == 3:
            g[f"{name}.noise_strength"], g[f"{name}.noise_const"] = np.float32(normal(1)[0]), normal(r, r)
            g[f"{name}.resample_filter"] = FIR.float().numpy()

    styled("synthesis.b4.conv1", C[4], C[4], 4)
    styled("synthesis.b4.torgb", 3, C[4], 4, 1)
    styled("synthesis.b8.conv0", C[8], C[4], 8)
    styled("synthesis.b8.conv1", C[8], C[8], 8)
    styled("synthesis.b8.torgb", 3, C[8], 8, 1)
    d = OrderedDict()
    for name, o, i, k in [("b8.fromrgb", C[8], 3, 1), ("b8.conv0", C[8], C[8], 3), ("b8.conv1", C[4], C[8], 3),
                          ("b8.skip", C[4], C[8], 1), ("b4.conv", C[4], C[4] + 1, 3)]:
        d[f"{name}.weight"] = normal(o, i, k, k)
        if name != "b8.skip":
            d[f"{name}.bias"] = normal(o)
    d["b4.fc.weight"], d["b4.fc.bias"] = normal(C[4], 16 * C[4]), normal(C[4])
    d["b4.out.weight"], d["b4.out.bias"] = normal(1, C[4]), normal(1)
    buffers = [n for n in g if n.rsplit(".", 1)[1] in ("w_avg", "noise_const", "resample_filter")]
    buffers += [n for n in d if n.startswith("b8.")]  # as NVIDIA's code keeps frozen layers
    kwargs = dict(c_dim=0, img_resolution=8, img_channels=3, channel_base=48, channel_max=512)
    make_g = lambda: tree(Persistent("Generator", dict(
        z_dim=Z, w_dim=W, c_dim=0, img_resolution=8, img_channels=3, mapping_kwargs=EasyDict(num_layers=2),
        synthesis_kwargs=EasyDict(channel_base=48, channel_max=8, num_fp16_res=4, conv_clamp=2))), g, buffers)
    make_d = tree(Persistent("Discriminator", dict(kwargs, channel_max=8, num_fp16_res=4, conv_clamp=2,
                                                   epilogue_kwargs=EasyDict(mbstd_group_size=None))), d, buffers)
    pipe = Persistent("AugmentPipe", dict(xflip=1, rotate90=1))
    pipe.register_buffer("p", torch.tensor(0.25))
    ensemble = Ensemble()
    ensemble.head, ensemble.judge = torch.nn.Linear(2, 1), Judge()
    snapshot = dict(training_set_kwargs=EasyDict(class_name="training.dataset.ImageFolderDataset", path="faces.zip",
                                                 use_labels=False, max_size=100, xflip=True, resolution=8),
                    G=make_g(), D=make_d, G_ema=make_g(), augment_pipe=pipe, cvD=ensemble)
    with open(HERE / "nvidia.pkl", "wb") as f:
        pickle.dump(snapshot, f)

    # Without the factor 1 / sqrt(fan in), which NVIDIA's code leaves to demodulation; what is 4 x 4 is not clamped by
    # much else than a layer's own clamp.
    def layer(name):
        return {k: t64(g[f"{name}.{k}"]) for k in ("weight", "bias", "affine.weight", "affine.bias")} | \
               {k: t64(g[f"{name}.{k}"]) for k in ("noise_strength", "noise_const") if f"{name}.{k}" in g}

    w = mapping(t64(z[:, :Z]), [(t64(g[f"mapping.fc{i}.weight"]), t64(g[f"mapping.fc{i}.bias"])) for i in range(2)])
    x, image = t64(g["synthesis.b4.const"]).repeat(len(z), 1, 1, 1), None
    for name, up in [("b4.conv1", False), ("b4.torgb", None), ("b8.conv0", True), ("b8.conv1", False), ("b8.torgb", None)]:
        p = layer(f"synthesis.{name}")
        s = dense(w, p["affine.weight"], p["affine.bias"])
        if up is None:
            rgb = (modulated(x, p["weight"], s, demodulate=False) + p["bias"][:, None, None]).clamp(-2, 2)
            image = rgb if image is None else upsample(image) + rgb
        else:
            scale = math.sqrt(p["weight"][0].numel())
            y = modulated(x, p["weight"] * scale, s, up=up)
            x = lrelu(y + p["noise_const"] * p["noise_strength"] + p["bias"][:, None, None]).clamp(-2, 2)
    expected["nvidia.g"] = image


# ---- rosinality/style-based-gan-pytorch and FreezeD: all blocks to 1024 pixels, trained at 16

def stylegan():
    c, z, trained = 2, 4, 2
    g, d = OrderedDict(), OrderedDict()

    def conv(to, name, o, i, k):
        to[f"{name}.conv.weight_orig"], to[f"{name}.conv.bias"] = normal(o, i, k, k), normal(o)

    def blur(to, name):
        kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32)[None, None].repeat(c, 0) / 16
        to[f"{name}.weight"], to[f"{name}.weight_flip"] = kernel, kernel

    for i in range(9):
        p = f"generator.progression.{i}"
        if i == 0:
            g[f"{p}.conv1.input"] = normal(1, c, 4, 4)
        elif i < 5:
            conv(g, f"{p}.conv1.1", c, c, 3)
            blur(g, f"{p}.conv1.2")
        else:
            g[f"{p}.conv1.0.weight"], g[f"{p}.conv1.0.bias"] = normal(c, c, 3, 3), normal(c)
            blur(g, f"{p}.conv1.1")
        for n in (1, 2):
            g[f"{p}.noise{n}.weight_orig"] = normal(1, c, 1, 1) * (i <= trained)
            g[f"{p}.adain{n}.style.linear.weight_orig"] = normal(2 * c, z)
            g[f"{p}.adain{n}.style.linear.bias"] = normal(2 * c)
        conv(g, f"{p}.conv2", c, c, 3)
        conv(g, f"generator.to_rgb.{i}", 3, c, 1)
    for i in (1, 3):
        g[f"style.{i}.linear.weight_orig"], g[f"style.{i}.linear.bias"] = normal(z, z), normal(z)
    for i in range(9):
        p = f"progression.{i}"
        conv(d, f"from_rgb.{i}.0", c, 3, 1)
        conv(d, f"{p}.conv1.0", c, c + (i == 8), 3)
        if i == 8:
            conv(d, f"{p}.conv2.0", c, c, 4)
        elif i < 4:
            blur(d, f"{p}.conv2.0")
            d[f"{p}.conv2.1.weight"], d[f"{p}.conv2.1.bias"] = normal(c, c, 3, 3), normal(c)
        else:
            blur(d, f"{p}.conv2.0")
            conv(d, f"{p}.conv2.1", c, c, 3)
    d["linear.linear.weight_orig"], d["linear.linear.bias"] = normal(1, c), normal(1)
    tensors = lambda state: OrderedDict((k, torch.from_numpy(v)) for k, v in state.items())
    torch.save({"generator": tensors(g), "discriminator": tensors(d), "g_running": tensors(g)}, HERE / "stylegan.model",
               _use_new_zipfile_serialization=False)


# ---- Chainer: a file for each network

def chainer():
    classes, ch, gch = 3, 2, 8
    g, d = OrderedDict(), OrderedDict()
    g["l1/W"], g["l1/b"] = normal(16 * gch, Z), normal(16 * gch)
    for b in (2, 3, 4):
        p = f"block{b}"
        for c, k in (("c1", 3), ("c2", 3), ("c_sc", 1)):
            g[f"{p}/{c}/W"], g[f"{p}/{c}/b"] = normal(gch, gch, k, k), normal(gch)
        for n in ("b1", "b2"):
            g[f"{p}/{n}/gammas/W"], g[f"{p}/{n}/betas/W"] = normal(classes, gch), normal(classes, gch)
            g[f"{p}/{n}/avg_mean"], g[f"{p}/{n}/avg_var"] = normal(gch), normal(gch) ** 2
            g[f"{p}/{n}/N"] = np.array(100)
    g["b5/gamma"], g["b5/beta"], g["b5/N"] = normal(gch), normal(gch), np.array(100)
    g["b5/avg_mean"], g["b5/avg_var"] = normal(gch), normal(gch) ** 2
    g["l5/W"], g["l5/b"] = normal(3, gch, 3, 3), normal(3)
    c = 2 * ch
    for b in (1, 2, 3, 4):
        i = 3 if b == 1 else c
        for name, o, n, k in (("c1", c, i, 3), ("c2", c, c, 3), ("c_sc", c, i, 1)):
            if name == "c_sc" and b > 2:
                continue
            d[f"block{b}/{name}/W"], d[f"block{b}/{name}/b"] = normal(o, n, k, k), normal(o)
            d[f"block{b}/{name}/u"] = normal(1, o)
    d["l5/W"], d["l5/b"], d["l5/u"] = normal(1, c), normal(1), normal(1, 1)
    d["l_y/W"], d["l_y/u"] = normal(classes, c), normal(1, classes)
    np.savez_compressed(HERE / "chainer_g.npz", **g)
    np.savez(HERE / "chainer_d.npz", **d)

    label = 1
    x = (t64(z[:, :Z]) @ t64(g["l1/W"]).T + t64(g["l1/b"])).reshape(-1, gch, 4, 4)

    def norm(x, p, by_class=True):
        gamma, beta = (t64(g[f"{p}/{n}s/W"])[label] if by_class else t64(g[f"{p}/{n}"]) for n in ("gamma", "beta"))
        return F.relu(F.batch_norm(x, t64(g[f"{p}/avg_mean"]), t64(g[f"{p}/avg_var"]), gamma, beta, False, 0, 2e-5))

    conv = lambda x, p, pad: F.conv2d(x, t64(g[f"{p}/W"]), t64(g[f"{p}/b"]), padding=pad)
    twice = lambda x: F.interpolate(x, scale_factor=2)
    for b in (2, 3, 4):
        p = f"block{b}"
        h = conv(twice(norm(x, f"{p}/b1")), f"{p}/c1", 1)
        x = conv(norm(h, f"{p}/b2"), f"{p}/c2", 1) + conv(twice(x), f"{p}/c_sc", 0)
    expected["chainer.g"] = torch.tanh(conv(norm(x, "b5", False), "l5", 1))


if __name__ == "__main__":
    rosinality()
    tensorflow()
    nvidia()
    chainer()
    stylegan()
    save_file({k: v.contiguous() for k, v in expected.items()}, HERE / "expected.safetensors")
    for protocol in range(6):
        values = {"text": "é\n\\", "whole": -7, "large": 1 << 40, "real": 0.5, "flags": [True, False, None], "pair": (1, "b"),
                  "named": EasyDict(a=1), "array": np.arange(6, dtype=np.float32).reshape(2, 3).T}
        with open(HERE / f"protocol{protocol}.pkl", "wb") as f:
            pickle.dump(values, f, protocol=protocol)
