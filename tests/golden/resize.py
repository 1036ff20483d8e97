"""Writes resize.safetensors: an image resized as torch-fidelity, pytorch-fid and clean-fid do it, and by PyTorch's area,
bilinear and bicubic.

    python3 tests/golden/resize.py tests/golden/resize.safetensors

Needs numpy, torch, Pillow, safetensors, and torch-fidelity 0.4 for TensorFlow's rule.
"""
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

HEIGHT, WIDTH = 13, 10
image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
nchw = torch.from_numpy(image).permute(2, 0, 1)[None].double()
tensors = {'image': image}
for size in (7, 31):
    hwc = lambda x: x[0].permute(1, 2, 0).contiguous().numpy().astype(np.float32)
    tensors[f'tensorflow.{size}'] = hwc(interpolate_bilinear_2d_like_tensorflow1x(nchw, (size, size), align_corners=False))
    tensors[f'bilinear.{size}'] = hwc(torch.nn.functional.interpolate(nchw, (size, size), mode='bilinear', align_corners=False))
    tensors[f'corners.{size}'] = hwc(torch.nn.functional.interpolate(nchw, (size, size), mode='bilinear', align_corners=True))
    for how in ('area', 'bicubic'):
        tensors[f'torch {how}.{size}'] = hwc(torch.nn.functional.interpolate(nchw, (size, size), mode=how))
    channels = [Image.fromarray(image[..., c].astype(np.float32), mode='F').resize((size, size), Image.BICUBIC) for c in range(3)]
    tensors[f'bicubic.{size}'] = np.stack([np.asarray(c) for c in channels], 2)
save_file(tensors, sys.argv[1])
