#!/usr/bin/env python3
"""Writes the fixtures NAME.safetensors beside this file; --verify checks the reference itself.

All randomness is numpy's legacy generator (its streams never change), seeded by the case's name and
rounded to float32, so that a float32 engine starts from exactly the same values.
"""
import argparse
import dataclasses
import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import stylegan2 as sg2
import training_step as ts
from stylegan2 import Options

SMALL = dict(z_dim=16, w_dim=16, mapping_layers=2, batch=4, mbstd_group=2, gamma=1.5, d_lr=0.002)
CASES = {
    "resnet_skip_32": Options(32, 32, channel_base=64, channel_max=6, **SMALL),
    "conditional_16": Options(16, 16, c_dim=3, channel_base=96, channel_max=8, g_architecture="resnet",
                              **{**SMALL, "mbstd_group": 4}),
    "orig_16": Options(16, 16, channel_base=96, channel_max=8, g_architecture="orig", d_architecture="orig",
                       conv_clamp=2.0, **SMALL),
    "gray_16": Options(16, 16, img_channels=1, channel_base=96, channel_max=8, d_architecture="skip",
                       mbstd_channels=2, **SMALL),
    "frozen_32": Options(32, 32, channel_base=64, channel_max=6, frozen=["D.b32.*", "D.b16.*"], **SMALL),
    "rect_16x32": Options(16, 32, channel_base=96, channel_max=8, **SMALL),
}
# The frozen case shares the values of the case that it is compared with; in this stream no loss is tiny.
STREAMS = {"resnet_skip_32": "resnet_skip_32#8", "frozen_32": "resnet_skip_32#8"}


# ---- files --------------------------------------------------------------------------------------

def write_safetensors(path, tensors, metadata):
    names = {"float64": "F64", "float32": "F32", "int64": "I64"}
    header, blobs, offset = {"__metadata__": metadata}, [], 0
    for name, value in tensors.items():
        array = np.array(value.detach().numpy(), order="C")
        blobs.append(array.tobytes())
        header[name] = {"dtype": names[array.dtype.name], "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(blobs[-1])]}
        offset += len(blobs[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


# ---- one case -----------------------------------------------------------------------------------

def random_source(name):
    state = np.random.RandomState(zlib.crc32(name.encode()))
    return lambda *shape: torch.from_numpy(np.asarray(state.standard_normal(shape), np.float32)).double(), state


def initial_values(opt, shapes, normal):
    """Nothing keeps its usual initial value: biases, noise strengths and w_avg are random too."""
    values = {}
    for name, shape in shapes.items():
        x = normal(*shape)
        if name.endswith("resample_filter"):
            x = sg2.fir()
        elif name.startswith("mapping.fc"):
            x = x * ((1.0 if name.endswith("weight") else 0.3) / opt.mapping_lr_mult)
        elif name.endswith("noise_strength"):
            x = 0.1 + 0.3 * x.abs()
        elif name.endswith("affine.bias"):
            x = 1 + 0.3 * x
        elif name.endswith("bias"):
            x = 0.3 * x
        elif name.endswith("w_avg"):
            x = 0.5 * x
        values[name] = x.float().double()
    return values


def random_inputs(opt, normal, state):
    inputs = {f"z.{phase}": normal(opt.batch, opt.z_dim) for phase in ("Gmain", "Greg", "Dmain")}
    inputs["images"] = normal(opt.batch, opt.img_channels, opt.height, opt.width).mul(0.5).clamp(-1, 1)
    inputs["pl_noise"] = normal(opt.batch // 2, opt.img_channels, opt.height, opt.width)
    if opt.c_dim:
        for key in ("labels", "gen_labels"):
            inputs[key] = torch.from_numpy(state.randint(0, opt.c_dim, opt.batch, dtype=np.int64))
    return inputs


def make_case(name):
    opt = CASES[name]
    normal, random = random_source(STREAMS.get(name, name))
    G = initial_values(opt, {**sg2.generator_shapes(opt)[0], **sg2.generator_shapes(opt)[1]}, normal)
    D = initial_values(opt, {**sg2.discriminator_shapes(opt)[0], **sg2.discriminator_shapes(opt)[1]}, normal)
    return opt, ts.new_state(G, D), random_inputs(opt, normal, random), random_inputs(opt, normal, random)


def fixture(name):
    opt, state, inputs, inputs2 = make_case(name)
    out = {}
    for net in "GD":
        out |= {f"{net}.{n}": v for n, v in getattr(state, net).items() if not n.endswith("resample_filter")}
    for prefix, source in (("in", inputs), ("in2", inputs2)):
        for n, v in source.items():            # the large ones as F32, which holds them exactly
            out[f"{prefix}.{n}"] = v.float() if n in ("images", "pl_noise") else v

    with torch.no_grad():
        labels = inputs.get("gen_labels")
        out["out.G.ws"] = sg2.generator_mapping(state.G, opt, inputs["z.Gmain"], labels)
        out["out.G.images"] = sg2.synthesis(state.G, opt, out["out.G.ws"])
        ws = sg2.generator_mapping(state.G, opt, inputs["z.Gmain"], labels, psi=0.7, cutoff=3)
        out["out.G.truncated"] = sg2.synthesis(state.G, opt, ws)
        out["out.D.logits"] = sg2.discriminator(state.D, opt, inputs["images"], inputs.get("labels"))

    for phase in ts.PHASES:
        loss, grads, extras = ts.run_phase(opt, state, phase, inputs)
        out[f"{phase}.loss"] = loss
        out |= {f"{phase}.grad.{n}": g for n, g in grads.items()}
        out |= {f"{phase}.{n}": extras[n] for n in ("pl_mean", "r1_penalty") if n in extras}

    ts.iteration(opt, state, inputs)
    ts.iteration(opt, state, inputs2)
    for net in ("G", "D", "G_ema"):            # constant buffers are not repeated
        out |= {f"after.{net}.{n}": v for n, v in getattr(state, net).items()
                if not n.endswith(("resample_filter", "noise_const"))}
    out["after.pl_mean"] = state.pl_mean
    assert all(torch.isfinite(v).all() for v in out.values())

    options = dataclasses.asdict(opt) | {"resolution": opt.height, "num_ws": opt.num_ws,
                                         "truncation_psi": 0.7, "truncation_cutoff": 3}
    path = Path(__file__).parent / f"{name}.safetensors"
    write_safetensors(path, out, {"options": json.dumps(options)})
    return path, out


# ---- checks of the reference --------------------------------------------------------------------

def check(what, ok):
    print(f"{'ok  ' if ok else 'FAIL'} {what}")
    if not ok:
        raise SystemExit(1)


def check_counts():
    """Known sizes of the published configurations: G parameters, G buffers, D parameters, num_ws."""
    known = {
        "paper256": (256, 16384, 8, "resnet", (24767458, 175568, 24001089, 14)),
        "stylegan2 at 256": (256, 32768, 8, "resnet", (30034338, 175568, 28864129, 14)),
        "auto at 256": (256, 16384, 2, "resnet", (23191522, 175568, 24001089, 14)),
        "paper512": (512, 32768, 8, "resnet", (30276583, 699904, 28982849, 16)),
        "stylegan2 at 1024": (1024, 32768, 8, "resnet", (30370060, 2797104, 29012513, 18)),
        "auto at 128": (128, 16384, 2, "resnet", (22949277, 44448, 23882369, 12)),
        "auto at 64": (64, 16384, 2, "resnet", (22243608, 11632, 23407361, 10)),
        "cifar": (32, 32768, 2, "orig", (19947539, 3392, 20720641, 8)),
    }
    for name, (r, base, layers, arch, expected) in known.items():
        opt = Options(r, r, channel_base=base, mapping_layers=layers, d_architecture=arch)
        (gp, gb), (dp, _) = sg2.generator_shapes(opt), sg2.discriminator_shapes(opt)
        counts = [sum(math.prod(s) for s in shapes.values()) for shapes in (gp, gb, dp)]
        check(f"counts of {name}: {counts}", (*counts, opt.num_ws) == expected)


def check_layers():
    torch.manual_seed(0)
    x, w = torch.randn(2, 3, 5, 7).double(), torch.randn(4, 3, 3, 3).double()
    up = F.conv_transpose2d(x, w.transpose(0, 1), stride=2)
    check("up-convolution = transposed convolution, then FIR",
          torch.allclose(sg2.conv_up2(x, w), sg2.upfirdn2d(up, pad=(1, 1), gain=4)))
    # Interpolation by 2 weighs the nearer sample 3/4, the farther 1/4.
    row = torch.tensor([[[[1., 5.], [1., 5.]]]]).double()
    check("interpolation", torch.allclose(sg2.upsample(row)[0, 0, 1], torch.tensor([.75, 2., 4., 3.75]).double()))
    check("decimation", torch.allclose(sg2.downsample(torch.ones(1, 1, 6, 6).double())[0, 0, 1, 1],
                                       torch.ones(()).double()))
    y = sg2.minibatch_std(torch.tensor([0., 10., 2., 10.]).double().reshape(4, 1, 1, 1), 2, 1)[:, 1, 0, 0]
    check("minibatch std groups samples n and n + N/group", torch.allclose(y, torch.tensor([1., 1e-4, 1., 1e-4]).double()))
    s = torch.randn(2, 3).double()
    d = ((w[None] * s[:, None, :, None, None]).square().sum((2, 3, 4)) + 1e-8).rsqrt()
    fused = (w[None] * s[:, None, :, None, None] * d[:, :, None, None, None]).flatten(0, 1)
    grouped = F.conv2d(x.reshape(1, 6, 5, 7), fused, padding=1, groups=2).reshape(2, 4, 5, 7)
    split = F.conv2d(x * s[:, :, None, None], w, padding=1) * d[:, :, None, None]
    check("scale-convolution-scale = per-sample weights", torch.allclose(grouped, split))


def check_adam():
    opt = CASES["resnet_skip_32"]
    torch.manual_seed(1)
    p = torch.randn(5).double()
    state = ts.State({"x": p}, {}, {}, None)
    theirs = p.clone().requires_grad_()
    k = opt.g_reg_interval / (opt.g_reg_interval + 1)
    adam = torch.optim.Adam([theirs], lr=opt.g_lr * k, betas=(opt.beta1 ** k, opt.beta2 ** k), eps=opt.adam_eps)
    for _ in range(4):
        g = torch.randn(5).double()
        ts.adam_step(opt, state, "G", {"x": g})
        theirs.grad = g
        adam.step()
    check("Adam = torch.optim.Adam", torch.allclose(state.G["x"], theirs, rtol=1e-12, atol=0))


def check_gradients(name):
    """Central differences of every phase's loss for two random entries of every parameter tensor."""
    opt, state, inputs, _ = make_case(name)
    random = np.random.RandomState(0)
    for phase in ts.PHASES:
        net, worst, count = phase[0], 0.0, 0
        _, grads, _ = ts.run_phase(opt, state, phase, inputs)
        original = getattr(state, net)
        for n, g in grads.items():
            for i in random.choice(g.numel(), min(2, g.numel()), replace=False):
                def slope(step):
                    ends = []
                    for sign in (1, -1):
                        moved = original[n].clone()
                        moved.view(-1)[i] += sign * step
                        networks = {"G": state.G, "D": state.D, net: {**original, n: moved}}
                        ends.append(ts.LOSSES[phase](opt, networks["G"], networks["D"], inputs, state.pl_mean)[0].item())
                    return (ends[0] - ends[1]) / (2 * step)
                exact = g.reshape(-1)[i].item()
                # A kink within the step spoils a difference; a smaller step then passes it by.
                error = min(abs(slope(step) - exact) / (abs(exact) + 1e-3 * g.abs().max().item() + 1e-6)
                            for step in (1e-5, 1e-6, 1e-7))
                worst, count = max(worst, error), count + 1
        check(f"{name} {phase}: {count} differences, worst relative error {worst:.1e}", worst < 1e-3)


def check_clamp(name):
    """The clamp must bite in both networks, and not everywhere."""
    opt, state, inputs, _ = make_case(name)
    hits, total, plain = [0], [0], sg2.clamp

    def counted(x, limit):
        hits[0] += int((x.abs() > limit).sum())
        total[0] += x.numel()
        return plain(x, limit)
    sg2.clamp = counted
    shares = []
    for run in (lambda: sg2.synthesis(state.G, opt, sg2.generator_mapping(state.G, opt, inputs["z.Gmain"])),
                lambda: sg2.discriminator(state.D, opt, inputs["images"])):
        hits[0] = total[0] = 0
        run()
        shares.append(hits[0] / total[0])
    sg2.clamp = plain
    check(f"{name} clamp bites in G ({shares[0]:.1%} of the values) and D ({shares[1]:.1%})",
          all(0.001 < s < 0.5 for s in shares))


def verify():
    check_counts()
    check_layers()
    check_adam()
    for name in CASES:
        if name != "frozen_32":
            check_gradients(name)
    # Freezing removes gradients and changes none of the rest.
    free, frozen = make_case("resnet_skip_32"), make_case("frozen_32")
    for phase in ts.PHASES:
        a, b = (ts.run_phase(c[0], c[1], phase, c[2])[1] for c in (free, frozen))
        check(f"frozen {phase}: {len(b)} of {len(a)} gradients, the same", all(torch.equal(a[n], b[n]) for n in b)
              and (phase[0] == "G") == (len(a) == len(b)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"default: all of {', '.join(CASES)}")
    parser.add_argument("--verify", action="store_true", help="check the reference; write nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.verify:
        verify()
    for name, opt in CASES.items():
        if opt.conv_clamp:
            check_clamp(name)
    if not args.verify:
        for name in args.cases or CASES:
            path, tensors = fixture(name)
            print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
