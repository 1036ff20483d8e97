"""Losses of methods in PyTorch, in double precision: methods.safetensors holds their values and gradients. Weights and
images follow from the formula of features.py. Run in this folder: python3 methods.py"""
import torch
from safetensors.torch import save_file

import features as f

GLO_LAYERS = {"vgg16": 9, "squeezenet": None}  # how many of the activations are compared


def vgg16_relus(w, x):
    found, number = [], 0
    for out, count in ((64, 2), (128, 2), (256, 3), (512, 3)):
        for _ in range(count):
            x = f.F.relu(w.conv(x, f"features.{number}", w.channels(out), 3))
            found.append(x)
            number += 2
        x = f.F.max_pool2d(x, 2)
        number += 1
    return found[:9]


def by_own_size(x):
    return x / x.detach()


def reconstruction(activations, w, images, fakes, weight):
    loss = by_own_size((fakes - images).abs().mean())
    for a, b in zip(*(activations(w, f.imagenet((x + 1) * 127.5)) for x in (fakes, images))):
        loss = loss + weight * by_own_size(((a - b.detach()) ** 2).mean())
    return loss


def latent_distance(z, t):
    d = torch.cdist(z, t, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    return d.min(1).values.mean() + d.min(0).values.mean()


def distance_consistency(now, then, group):
    """Over layers and samples the mean of KL(source || now) / (group - 1), a row being a softmax over the others."""
    total = 0
    for a, b in zip(now, then):
        for i in range(len(a)):
            others = [j for j in range(i // group * group, (i // group + 1) * group) if j != i]
            q, p = (f.F.softmax(torch.stack([f.F.cosine_similarity(x[i].flatten(), x[j].flatten(), 0) for j in others]), 0)
                    for x in (a, b))
            total = total + (p * (p / q).log()).sum() / len(others)
    return total / len(now) / len(now[0])


def numbers(name, *shape):
    return torch.from_numpy(f.numbers(name, torch.Size(shape).numel())).reshape(shape)


def main():
    found = {}
    for network, width, activations in (("vgg16", 16, vgg16_relus), ("squeezenet", 8, f.squeezenet_stages)):
        images, fakes = (f.images(n, 2, 32) / 127.5 - 1 for n in ("reals", "fakes"))
        fakes.requires_grad_()
        loss = reconstruction(activations, f.Weights(width), images, fakes, 0.1)
        loss.backward()
        found[f"{network}.loss"], found[f"{network}.grad"] = loss.detach().reshape(1), fakes.grad.permute(0, 2, 3, 1)
    z, t = numbers("z", 5, 7).requires_grad_(), numbers("t", 23, 7)
    distance = latent_distance(z, t)
    distance.backward()
    found["distance"], found["distance.grad"] = distance.detach().reshape(1), z.grad
    for n, group in ((8, 4), (6, 3), (5, 5), (10, 5)):
        now, then = ([numbers(f"{when}.{i}", n, *shape) for i, shape in enumerate(((3, 2, 4), (2, 5, 3)))]
                     for when in ("now", "then"))
        for x in now:
            x.requires_grad_()
        divergence = distance_consistency(now, then, group)
        divergence.backward()
        found[f"cdc.{n}"] = divergence.detach().reshape(1)
        for i, x in enumerate(now):
            found[f"cdc.{n}.grad.{i}"] = x.grad
    save_file({k: v.contiguous() for k, v in found.items()}, "methods.safetensors")


if __name__ == "__main__":
    main()
