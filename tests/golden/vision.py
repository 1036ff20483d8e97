"""Heads of vision-aided discriminators in PyTorch, in double precision: vision.safetensors holds logits, losses, and
gradients as their products with numbers of the formula of features.py. Run in this folder: python3 vision.py"""
import torch
from safetensors.torch import save_file

import features as f

F = f.F
CASES = {"one": [(8, 8, 6)], "odd": [(7, 5, 6)], "several": [(7, 7, 5), (14, 14, 4)]}
POOLED, CLASSES, BATCH = 9, 3, 4
SMOOTHING = 0.2


def numbers(name, *shape):
    return torch.from_numpy(f.numbers(name, torch.Size(shape).numel())).reshape(shape)


def blur(x, pad, stride=1):
    taps = torch.tensor([1.0, 3, 3, 1]) / 8
    w = (taps[:, None] * taps).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, w, None, stride, pad, 1, x.shape[1])


class Head:
    def __init__(self, kind, like, classes):
        self.kind, self.like, self.classes, self.tensors, self.u = kind, like, classes, {}, {}

    def tensor(self, name, *shape):
        if name not in self.tensors:
            self.tensors[name] = (numbers(name, *shape) * 0.5).requires_grad_()
        return self.tensors[name]

    def layer(self, x, name, out, window, stride=1, pad=0, activates=True):
        w = self.tensor(name + ".weight", out, *window, x.shape[1]).permute(0, 3, 1, 2)
        b = self.tensor(name + ".bias", out)
        matrix = w.reshape(out, -1)
        if self.kind == "spectral":
            u = numbers(name + ".u", out) * 0.5
            with torch.no_grad():
                v = F.normalize(matrix.T @ u, dim=0)
                u = F.normalize(matrix @ v, dim=0)
            w = w / (u @ matrix @ v)
        else:
            w = w / matrix.shape[1] ** 0.5
        y = F.conv2d(x, w, b, stride, pad)
        if not activates:
            return y
        return F.leaky_relu(y, 0.2) * (1 if self.kind == "spectral" else 2**0.5)

    def judge(self, x, labels):
        y = self.layer(x, "out", 1, (1, 1), activates=False)
        if self.classes:
            y = y + (self.tensor("embedding", self.classes, x.shape[1])[labels] * x[:, :, 0, 0]).sum(1).reshape(-1, 1, 1, 1)
        return y

    def __call__(self, maps, pooled, labels):
        if len(maps) == 1:
            h = self.layer(blur(maps[0], 2), "conv", 256, (3, 3), 2)
            return [self.judge(self.layer(h, "fc", 256, h.shape[2:]), labels)]
        width, found = 256, []
        for i, x in enumerate(maps):
            down = x.shape[2] > 7
            width = 128 if down else width
            h = self.layer(blur(x, 2), f"map{i}.conv", width, (3, 3), 2) if down else self.layer(x, f"map{i}.conv", width, (3, 3), 1, 1)
            found.append(self.layer(blur(h, 1), f"map{i}.logits", 1, (1, 1), 2, activates=False))
        return found + [self.judge(self.layer(pooled[:, :, None, None], "fc", width, (1, 1)), labels)]


def loss_of(logits, target):
    return sum(F.binary_cross_entropy_with_logits(x, torch.full_like(x, target)) for x in logits)


def main():
    found = {}
    labels = torch.tensor([0, 2, 1, 2])
    for case, like in CASES.items():
        for kind in ("spectral", "equalised"):
            for classes in (0, CLASSES):
                key = f"{case}.{kind}.{classes}"
                head = Head(kind, like, classes)
                maps = [numbers(f"map{i}", BATCH, *shape).requires_grad_() for i, shape in enumerate(like)]
                pooled = numbers("pooled", BATCH, POOLED).requires_grad_()
                logits = head([m.permute(0, 3, 1, 2) for m in maps], pooled, labels)
                for i, x in enumerate(logits):
                    found[f"{key}.logits.{i}"] = x.detach().permute(0, 2, 3, 1)
                found[f"{key}.fake"] = loss_of(logits, 0.0).detach().reshape(1)
                loss = loss_of(logits, 1 - SMOOTHING)
                loss.backward()
                found[f"{key}.real"] = loss.detach().reshape(1)
                inputs = {f"map{i}": m for i, m in enumerate(maps)} | ({"pooled": pooled} if len(maps) > 1 else {})
                for name, t in (inputs | head.tensors).items():
                    found[f"{key}.grad.{name}"] = (t.grad * numbers("by " + name, *t.shape)).sum().reshape(1)
    save_file({k: v.contiguous() for k, v in found.items()}, "vision.safetensors")


if __name__ == "__main__":
    main()
