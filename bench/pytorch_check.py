#!/usr/bin/env python3
"""Checks that pytorch_baseline.py computes StyleGAN2: losses and gradients of all phases against tests/golden.

float32 against double, for every form of the FIR, memory format and modulation. Noise strength is zero: the baseline draws its own.
"""
import argparse
import sys
from pathlib import Path

import torch

import pytorch_baseline as baseline
import pytorch_networks as networks

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "golden"))
import generate
import training_step as ts
from stylegan2 import Options


def reference_names(opt, trainer):
    """{reference name: the baseline's parameter}"""
    names = {}

    def put(prefix, module):
        names.update({f"{prefix}.{n}": p for n, p in module.named_parameters()})
    for i, layer in enumerate(trainer.G.mapping.layers):
        put(f"G.mapping.fc{i}", layer)
    names["G.synthesis.b4.const"] = trainer.G.const
    for i, r in enumerate(opt.levels):
        if i:
            put(f"G.synthesis.b{r}.conv0", trainer.G.conv0[i - 1])
        put(f"G.synthesis.b{r}.conv1", trainer.G.conv1[i])
        put(f"G.synthesis.b{r}.torgb", trainer.G.torgb[i])
    put(f"D.b{opt.height}.fromrgb", trainer.D.fromrgb)
    for r, block in zip(opt.levels[:0:-1], trainer.D.blocks):
        put(f"D.b{r}", block)
    for name in ("conv", "fc", "out"):
        put(f"D.b4.{name}", getattr(trainer.D, name))
    return names


def main():
    args = argparse.Namespace(resolution=16, channel_base=256, batch=4, z_dim=512, w_dim=512, mapping_layers=2, freeze_d=1, dtype="fp32", width=lambda r: min(256 // r, 16))
    opt = Options(16, 16, channel_base=256, channel_max=16, mapping_layers=2, batch=4, frozen=["D.b16.*"])
    generate.CASES["check"] = opt
    opt, state, inputs, _ = generate.make_case("check")
    for name in state.G:
        if name.endswith("noise_strength"):
            state.G[name] = torch.zeros((), dtype=torch.double)
    inputs = {n: v.double() for n, v in inputs.items()}
    expected = {phase: ts.run_phase(opt, state, phase, inputs)[:2] for phase in ts.PHASES}

    torch.randn_like = lambda x, **_: inputs["pl_noise"].float()
    for form in networks.FIRS:
        for channels_last in (False, True):
            for args.modulation in ("default", "improved"):
                networks.fir = networks.FIRS[form]
                trainer = baseline.Trainer(args, channels_last)
                trainer.reals = inputs["images"].float().contiguous(memory_format=trainer.memory_format)
                parameters = reference_names(opt, trainer)
                assert len(parameters) == len(list(trainer.G.parameters())) + len(list(trainer.D.parameters()))
                with torch.no_grad():
                    for name, p in parameters.items():
                        p.copy_(getattr(state, name[0])[name[2:]])
                worst = 0.0
                for phase in ts.PHASES:
                    trainer.G.requires_grad_(phase[0] == "G")
                    trainer.D.freeze(args.freeze_d) if phase[0] == "D" else trainer.D.requires_grad_(False)
                    for p in parameters.values():
                        p.grad = None
                    trainer.pl_mean = torch.zeros(())
                    trainer.G.mapped = lambda n: trainer.G.mapping(inputs[f"z.{phase}"][:n].float(), track=True)
                    loss = getattr(trainer, f"loss_{phase}")()
                    loss.backward()
                    want, grads = expected[phase]
                    worst = max(worst, abs(loss.item() / want.item() - 1))
                    got = {n[2:]: p.grad for n, p in parameters.items() if n[0] == phase[0] and p.requires_grad}
                    assert got.keys() == grads.keys()
                    scale = max(g.abs().max().item() for g in grads.values())
                    for n, g in grads.items():
                        if n.endswith("noise_strength"):       # random against constant noise
                            continue
                        error = 0 if got[n] is None and not g.any() else (got[n] - g).abs().max().item()
                        worst = max(worst, error / scale)
                print(f"{form:9s} channels_last={channels_last!s:5} {args.modulation:8s} worst relative error {worst:.1e}")
                if worst > 1e-4:
                    raise SystemExit("the baseline is wrong")


if __name__ == "__main__":
    main()
