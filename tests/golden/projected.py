"""A projected discriminator in PyTorch, in double precision: projected.safetensors holds logits, hinge losses, and
gradients as their products with numbers of the formula of features.py. Run in this folder: python3 projected.py"""
import torch
from safetensors.torch import save_file

import features as f
from vision import numbers

F = f.F
MAPS = [(9, 9, 5), (5, 5, 4), (4, 4, 6), (4, 4, 3)]  # of the frozen network, from shallow to deep
CHANNELS = {4: 512, 8: 512, 16: 256, 32: 128, 64: 64, 128: 64}  # of what judges, by rows
BATCH, CLASSES = 4, 3


class Judges:
    def __init__(self, classes):
        self.classes, self.tensors = classes, {}

    def tensor(self, name, *shape):
        if name not in self.tensors:
            value = numbers(name, *shape) * 0.5
            self.tensors[name] = (1 + value if name.endswith("gamma") else value).requires_grad_()
        return self.tensors[name]

    def conv(self, x, name, out, stride, pad):
        w = self.tensor(name + ".weight", out, 4, 4, x.shape[1]).permute(0, 3, 1, 2)
        matrix = w.permute(0, 2, 3, 1).reshape(out, -1)
        with torch.no_grad():
            v = F.normalize(matrix.T @ (numbers(name + ".u", out) * 0.5), dim=0)
            u = F.normalize(matrix @ v, dim=0)
        return F.conv2d(x, w / (u @ matrix @ v), None, stride, pad)

    def judge(self, x, name, labels):
        rows = min(CHANNELS, key=lambda r: (abs(r - x.shape[2]), r))
        number = 0
        while rows > 8:
            rows //= 2
            at = f"{name}down{number}"
            x = self.conv(x, at, CHANNELS[rows], 2, 1)
            x = F.batch_norm(x, None, None, self.tensor(at + ".gamma", x.shape[1]), self.tensor(at + ".beta", x.shape[1]), True)
            x, number = F.leaky_relu(x, 0.2), number + 1
        if not self.classes:
            return self.conv(x, name + "out", 1, 1, 0).flatten(1)
        y = self.conv(x, name + "out", 64, 1, 0)
        e = self.tensor(name + "embedding", self.classes, 128)[labels]
        c = F.leaky_relu(e @ self.tensor(name + "class.weight", 64, 128).T + self.tensor(name + "class.bias", 64), 0.2)
        return (y * c[:, :, None, None]).sum(1).flatten(1) / 64**0.5

    def __call__(self, maps, labels):
        return torch.cat([self.judge(x, f"judge{i}.", labels) for i, x in enumerate(maps)], 1)


def random_1x1(x, name, out):
    w = numbers(name, out, 1, 1, x.shape[1]) * 0.5
    return F.conv2d(x, w.permute(0, 3, 1, 2) / (3 * x.shape[1]) ** 0.5)


def mix(maps):
    found, deeper = [], None
    for i in range(3, -1, -1):
        x = random_1x1(maps[i], f"mix{i}.channels", 64 << i)
        x = x if deeper is None else x + deeper
        size = maps[i - 1].shape[2:] if i else [2 * s for s in maps[0].shape[2:]]
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
        deeper = random_1x1(x, f"mix{i}.scales", 64 if i == 0 else 32 << i)
        found.insert(0, deeper)
    return found


def main():
    found = {}
    labels = torch.tensor([0, 2, 1, 2])
    for classes in (0, CLASSES):
        judges = Judges(classes)
        maps = [numbers(f"map{i}", BATCH, *shape).requires_grad_() for i, shape in enumerate(MAPS)]
        mixed = mix([m.permute(0, 3, 1, 2) for m in maps])
        halves = [judges([m[i : i + 2] for m in mixed], labels[i : i + 2]) for i in (0, 2)]
        loss = F.relu(1 + halves[0]).mean() + F.relu(1 - halves[1]).mean()
        loss.backward()
        found[f"{classes}.logits"] = torch.cat(halves).detach()
        found[f"{classes}.loss"] = loss.detach().reshape(1)
        for name, t in ({f"map{i}": m for i, m in enumerate(maps)} | judges.tensors).items():
            found[f"{classes}.grad.{name}"] = (t.grad * numbers("by " + name, *t.shape)).sum().reshape(1)
    save_file({k: v.contiguous() for k, v in found.items()}, "projected.safetensors")


if __name__ == "__main__":
    main()
