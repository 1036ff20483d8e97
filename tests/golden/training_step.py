"""One StyleGAN2 training iteration: Gmain, Greg, Dmain, Dreg, each with its Adam step, then the average.

Style mixing is off and the noise is constant, so that everything is a function of the inputs.
Networks are {name: tensor}; a phase returns its loss and gradients and changes nothing.
"""
import math
from dataclasses import dataclass, field
from fnmatch import fnmatch

import torch
import torch.nn.functional as F

import stylegan2 as sg2

PHASES = ("Gmain", "Greg", "Dmain", "Dreg")


@dataclass
class State:
    G: dict
    D: dict
    G_ema: dict
    pl_mean: torch.Tensor
    moments: dict = field(default_factory=lambda: {"G": {}, "D": {}})
    steps: dict = field(default_factory=lambda: {"G": 0, "D": 0})


def new_state(G, D):
    return State(dict(G), dict(D), dict(G), torch.zeros((), dtype=torch.double))


def trainable(opt, net):
    shapes = sg2.generator_shapes(opt)[0] if net == "G" else sg2.discriminator_shapes(opt)[0]
    return [n for n in shapes if not any(fnmatch(f"{net}.{n}", pattern) for pattern in opt.frozen)]


def updated_w_avg(opt, p, ws):
    return ws[:, 0].detach().mean(0).lerp(p["mapping.w_avg"], opt.w_avg_beta)


# Each loss takes both networks and the inputs, and returns (loss, {extra results}).

def gmain(opt, G, D, inputs, pl_mean):
    labels = inputs.get("gen_labels")
    ws = sg2.generator_mapping(G, opt, inputs["z.Gmain"], labels)
    logits = sg2.discriminator(D, opt, sg2.synthesis(G, opt, ws), labels)
    return F.softplus(-logits).mean(), {"w_avg": updated_w_avg(opt, G, ws)}


def greg(opt, G, D, inputs, pl_mean):
    half = opt.batch // 2
    labels = inputs["gen_labels"][:half] if opt.c_dim else None
    ws = sg2.generator_mapping(G, opt, inputs["z.Greg"][:half], labels)
    ws = ws if ws.requires_grad else ws.requires_grad_()       # the mapping network may be frozen
    images = sg2.synthesis(G, opt, ws)
    y = inputs["pl_noise"] / math.sqrt(opt.height * opt.width)
    g, = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
    length = g.square().sum(2).mean(1).sqrt()
    pl_mean = pl_mean.lerp(length.mean(), opt.pl_decay)        # not detached in the penalty
    penalty = (length - pl_mean).square().mean()
    return penalty * opt.pl_weight * opt.g_reg_interval, {"w_avg": updated_w_avg(opt, G, ws), "pl_mean": pl_mean.detach()}


def dmain(opt, G, D, inputs, pl_mean):
    labels = inputs.get("gen_labels")
    with torch.no_grad():
        ws = sg2.generator_mapping(G, opt, inputs["z.Dmain"], labels)
        fakes = sg2.synthesis(G, opt, ws)
    fake = F.softplus(sg2.discriminator(D, opt, fakes, labels)).mean()
    real = F.softplus(-sg2.discriminator(D, opt, inputs["images"], inputs.get("labels"))).mean()
    return fake + real, {"w_avg": updated_w_avg(opt, G, ws)}


def dreg(opt, G, D, inputs, pl_mean):
    images = inputs["images"].clone().requires_grad_()
    logits = sg2.discriminator(D, opt, images, inputs.get("labels"))
    g, = torch.autograd.grad(logits.sum(), images, create_graph=True)
    penalty = g.square().sum((1, 2, 3)).mean()
    return penalty * (opt.gamma / 2 * opt.d_reg_interval), {"r1_penalty": penalty.detach()}


LOSSES = dict(Gmain=gmain, Greg=greg, Dmain=dmain, Dreg=dreg)


def run_phase(opt, state, phase, inputs):
    """-> (loss, {name: gradient}, extras). A parameter that the loss does not reach has gradient zero."""
    net = phase[0]
    networks = {"G": state.G, "D": state.D}
    leaves = {n: networks[net][n].detach().clone().requires_grad_() for n in trainable(opt, net)}
    networks[net] = {**networks[net], **leaves}
    loss, extras = LOSSES[phase](opt, networks["G"], networks["D"], inputs, state.pl_mean)
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    grads = {n: torch.zeros_like(leaves[n]) if g is None else g for n, g in zip(leaves, grads)}
    return loss.detach(), grads, extras


def adam_step(opt, state, net, grads):
    """Adam with the correction for lazy regularisation: k = interval / (interval + 1), lr k and beta^k."""
    interval, lr = (opt.g_reg_interval, opt.g_lr) if net == "G" else (opt.d_reg_interval, opt.d_lr)
    k = interval / (interval + 1)
    lr, beta1, beta2 = lr * k, opt.beta1 ** k, opt.beta2 ** k
    state.steps[net] += 1
    t, p = state.steps[net], getattr(state, net)
    for name, g in grads.items():
        m, v = state.moments[net].get(name, (torch.zeros_like(g), torch.zeros_like(g)))
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        state.moments[net][name] = m, v
        m_hat, v_hat = m / (1 - beta1 ** t), v / (1 - beta2 ** t)
        p[name] = p[name] - lr * m_hat / (v_hat.sqrt() + opt.adam_eps)


def iteration(opt, state, inputs):
    """All four phases, then the moving average (buffers are copied). Changes `state`."""
    for phase in PHASES:
        _, grads, extras = run_phase(opt, state, phase, inputs)
        adam_step(opt, state, phase[0], grads)
        if "w_avg" in extras:
            state.G["mapping.w_avg"] = extras["w_avg"]
        state.pl_mean = extras.get("pl_mean", state.pl_mean)
    parameters = sg2.generator_shapes(opt)[0]
    for name, value in state.G.items():
        average = value.lerp(state.G_ema[name], opt.ema_beta) if name in parameters else value
        state.G_ema[name] = average
