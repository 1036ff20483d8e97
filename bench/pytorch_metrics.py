#!/usr/bin/env python3
"""Images a second through feature networks in PyTorch, given its best: the peer of metrics_bench.

channels_last, eval, inference_mode; eager or compiled; the networks of torchvision and, with the pools of its own, of
pytorch-fid, on random weights and images. The median over --repeats.
"""
import argparse
import json
import statistics
import time

import torch
import torchvision

SIZES = {"inception": 299, "vgg16": 224, "squeezenet": 224, "mobilenetv2": 224}


def inception():
    from pytorch_fid import inception as fid

    net = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    net.Mixed_5b, net.Mixed_5c, net.Mixed_5d = (fid.FIDInceptionA(c, pool_features=p) for c, p in ((192, 32), (256, 64), (288, 64)))
    net.Mixed_6b, net.Mixed_6c, net.Mixed_6d, net.Mixed_6e = (fid.FIDInceptionC(768, channels_7x7=c) for c in (128, 160, 160, 192))
    net.Mixed_7b, net.Mixed_7c = fid.FIDInceptionE_1(1280), fid.FIDInceptionE_2(2048)
    return net


def network(name):
    models = torchvision.models
    return {"inception": inception, "vgg16": models.vgg16, "squeezenet": models.squeezenet1_1,
            "mobilenetv2": models.mobilenet_v2}[name]()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--network", choices=SIZES, default="inception")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--type", choices=("f32", "bf16"), default="f32")
    p.add_argument("--device", default="cpu")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeats", type=int, default=7)
    p.add_argument("--compile", action="store_true", help="torch.compile")
    p.add_argument("--save", help="write the weights there: metrics_bench --features reads them")
    args = p.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    net = network(args.network).eval()
    if args.save:
        torch.save(net.state_dict(), args.save)
    kind = dict(device=args.device, memory_format=torch.channels_last)
    if args.type == "bf16":
        kind["dtype"] = torch.bfloat16
    net = net.to(**kind)
    size = SIZES[args.network]
    images = torch.rand(args.batch, 3, size, size).to(**kind)
    run = torch.compile(net) if args.compile else net
    ms = []
    with torch.inference_mode():
        for _ in range(args.repeats + 2):
            begin = time.perf_counter()
            run(images)
            if args.device != "cpu":
                torch.cuda.synchronize()
            ms.append((time.perf_counter() - begin) * 1e3)
    median = statistics.median(ms[2:])
    print(json.dumps({"network": args.network, "batch": args.batch, "type": args.type, "compile": args.compile, "ms": median,
                      "images_per_s": args.batch / median * 1e3, "repeats": args.repeats, "torch": torch.__version__,
                      "threads": args.threads}))


if __name__ == "__main__":
    main()
