"""Arrays as numpy writes them: arrays.npz (stored), packed.npz (deflated), turned.npy (Fortran order, header version 3)."""
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent


def arrays():
    a = np.arange(24).reshape(2, 3, 4)
    return {'layer0/conv/W': (a / 8).astype(np.float32), 'turned': np.asfortranarray(a / 8), 'half': (a[0] / 2).astype(np.float16),
            'long': a - 7, 'int': (a - 7).astype(np.int32), 'byte': np.array([1, 2, 255], np.uint8),
            'flag': np.array([True, False]), 'scalar': np.float32(2.5), 'vector': np.float64([1.5]),
            'empty': np.zeros((0, 3), np.float32), 'zeros': np.zeros((100, 100), np.float32)}


if __name__ == '__main__':
    np.savez(HERE / 'arrays.npz', **{k: v for k, v in arrays().items() if k != 'zeros'})
    np.savez_compressed(HERE / 'packed.npz', **arrays())
    with open(HERE / 'turned.npy', 'wb') as f:
        np.lib.format.write_array(f, np.asfortranarray(np.arange(6.0).reshape(2, 3)), version=(3, 0))
