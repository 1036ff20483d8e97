#!/usr/bin/env python3
"""hostile/: files that are no weights but would like to be read: code to run, loops, nesting, sizes that are lies. Each
has to be refused in one line. Written by hand, byte by byte; nothing here is ever run. python3 hostile.py"""
import io
import struct
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "hostile"
text = lambda s: b"X" + struct.pack("<I", len(s)) + s.encode()
short = lambda s: b"\x8c" + bytes([len(s)]) + s.encode()
whole = lambda n: b"\x8a\x08" + struct.pack("<q", n)
STOP, MARK = b".", b"("
COMMAND = "touch firn-was-here"


def write(name, data):
    (HERE / name).write_bytes(data)


# ---- code to run, by every instruction that makes or calls something
write("system_protocol0.pkl", b"(dS'G'\ncos\nsystem\n(S'%s'\ntRs." % COMMAND.encode())
write("system_instance.pkl", b"(dS'G'\n(S'%s'\nios\nsystem\ns." % COMMAND.encode())
write("system_object.pkl", b"\x80\x01}U\x01G(cos\nsystem\nU%c%so" % (len(COMMAND), COMMAND.encode()) + b"s.")
write("system_protocol2.pkl", b"\x80\x02}" + text("G") + b"cposix\nsystem\n(" + text(COMMAND) + b"tRs.")
write("system_stack_global.pkl", b"\x80\x04}" + short("G") + short("os") + short("system") + b"\x93" + short(COMMAND) + b"\x85Rs.")
write("eval.pkl", b"\x80\x04}" + short("G") + short("builtins") + short("eval") + b"\x93" + short("1") + b"\x85Rs.")
write("getattr.pkl", b"\x80\x04}" + short("G") + short("builtins") + short("getattr") + b"\x93" + short("1") + b"\x85\x81s.")
write("new_with_names.pkl", b"\x80\x04}" + short("G") + short("subprocess") + short("Popen") + b"\x93)}\x92s.")
write("near_miss.pkl", b"\x80\x02}" + text("G") + b"ctorch._utils\n_rebuild_tensor_v3\n)Rs.")
write("extension.pkl", b"\x80\x02}" + text("G") + b"\x82\x01s.")
write("out_of_band.pkl", b"\x80\x05}" + text("G") + b"\x97s.")
write("persistent_text.pkl", b"(dS'G'\nPsecret\ns.")

# ---- loops and nesting
write("loop_list.pkl", b"\x80\x02]q\x00h\x00a.")
write("loop_dict.pkl", b"\x80\x02}q\x00" + text("G") + b"h\x00s.")
write("loop_state.pkl", b"\x80\x02ctorch.nn\nModule\n)\x81q\x00}" + text("_modules") + b"}" + text("G") + b"h\x00ssb.")
write("deep_lists.pkl", b"\x80\x02" + b"]" * 10000 + b"a" * 9999 + STOP)
write("deep_tuples.pkl", b"\x80\x02)" + b"\x85" * 10000 + STOP)
write("deep_dicts.pkl", b"\x80\x02}" + (text("G") + b"}") * 10000 + b"s" * 10000 + STOP)
write("deep_marks.pkl", b"\x80\x02" + MARK * 10000 + b"t" * 10000 + STOP)
# 2^40 names of one list, by lists that hold the one before twice
write("doubling.pkl", b"\x80\x02]q\x00K\x01a" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(40)) + STOP)
# one list of 10,000 items, in 10,000 dicts
pairs = b"]q\x00(" + b"]q\x01(K\x01K\x02e" + b"h\x01" * 9999 + b"e"
write("copies.pkl", b"\x80\x02(" + pairs + b"".join(b"ccollections\nOrderedDict\nh\x00\x85R" for _ in range(10000)) + b"l.")

# ---- sizes that are lies
array = lambda shape, data, dtype="f4": (
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01" + shape + b"cnumpy\ndtype\n" + text(dtype) +
    b"K\x00K\x01\x87R(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + data + b"tb")
write("array_2_60.pkl", b"\x80\x03}" + text("G") + array(whole(1 << 60) + b"\x85", b"C\x04abcd") + b"s.")
write("array_overflow.pkl", b"\x80\x03}" + text("G") + array(whole(1 << 40) * 2 + b"\x86", b"C\x04abcd") + b"s.")
write("array_negative.pkl", b"\x80\x03}" + text("G") + array(whole(-4) + b"\x85", b"C\x04abcd") + b"s.")
write("array_objects.pkl", b"\x80\x03}" + text("G") + array(b"K\x01\x85", b"]K\x01a", "O8") + b"s.")
write("bytes_2_60.pkl", b"\x80\x04}" + text("G") + b"\x8e" + struct.pack("<Q", 1 << 60) + b"abcd" + b"s.")
write("text_4_gb.pkl", b"\x80\x02}X\xff\xff\xff\xff" + b"abcd")
write("long_2_gb.pkl", b"\x80\x02\x8b\xff\xff\xff\x7fabcd")
write("memo_4_billion.pkl", b"\x80\x02}r\xff\xff\xff\xffj\xfe\xff\xff\xff.")
write("storage_2_60.pkl", b"\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\nC\x04abcd\x85RK\x00" +
      whole(1 << 60) + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs.")
write("protocol_255.pkl", b"\x80\xff.")
write("empty.pkl", b"")
write("only_a_head.pkl", b"\x80\x02")
write("stack_underflow.pkl", b"\x80\x020000.")

MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
write("torch_storage_2_60.pt", MAGIC + b"\x80\x02M\xe9\x03.\x80\x02}.\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
      b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + whole(1 << 60) + b"tQK\x00" + whole(1 << 60) + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs." +
      b"\x80\x02]" + text("0") + b"a." + struct.pack("<Q", 1 << 60) + b"abcd")


# ---- zips
def zipped(name, entries, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for entry, data in entries:
            z.writestr(zipfile.ZipInfo(entry), data, method)
    write(name, out.getvalue())


def npy(a):
    out = io.BytesIO()
    np.save(out, a, allow_pickle=True)
    return out.getvalue()


def header(text):
    text = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


zipped("objects.npz", [("l1/W.npy", npy(np.array([{"a": 1}, None], dtype=object)))])
zipped("climbing.npz", [("../../etc/passwd.npy", npy(np.zeros(3, np.float32)))])
zipped("absolute.npz", [("/etc/passwd.npy", npy(np.zeros(3, np.float32)))])
zipped("array_2_60.npz", [("l1/W.npy", header("{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,), }"))])
zipped("array_overflow.npz", [("l1/W.npy", header("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }"))])
zipped("code_in_header.npz", [("l1/W.npy", header("__import__('os').system('touch firn-was-here')"))])
zipped("climbing.pt", [("../data.pkl", b"\x80\x02}."), ("../data/0", b"abcd")])
zipped("system.pt", [("a/data.pkl", b"\x80\x02cos\nsystem\n" + text(COMMAND) + b"\x85R.")])
zipped("packed.pt", [("a/data.pkl", b"\x80\x02}" + text("G") + b"}s.")], zipfile.ZIP_DEFLATED)
zipped("bomb.npz", [("l1/W.npy", npy(np.zeros((64 << 20) // 4, np.float32)))], zipfile.ZIP_DEFLATED)
