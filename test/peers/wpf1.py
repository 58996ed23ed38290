#!/usr/bin/env python3
"""Reads and writes WPF1 weight patches with numpy alone, from gateway/patch/WPF1.md and nothing else of this repository.

Jobs come as a JSON list on standard input, answers go as one to standard output:
  {"do": "apply", "base": PATH, "patch": PATH, "out": PATH}
  {"do": "make", "base": PATH, "target": PATH, "patch": PATH, "model": TEXT, "versions": [3, 4], "epoch": 1}
  {"do": "bend", "base": PATH, "target": PATH, "patch": PATH, …, "seed": 1, "indices": "gap", "values": "i8", "operation": "add"}
`make` is the exact patch between two models; `bend` makes the target too, by changes of its own in the given encodings.
"""

import hashlib
import json
import struct
import sys
import zlib

import numpy as np

DTYPES = "F32 F16 BF16 I8 F64 U8 I16 U16 I32 U32 I64 U64 BOOL F8_E4M3 F8_E5M2 F8_E8M0 F6_E2M3 F6_E3M2 F4 C64".split()
BITS = dict(zip(DTYPES, [32, 16, 16, 8, 64, 8, 16, 16, 32, 32, 64, 64, 8, 8, 8, 8, 6, 6, 4, 64]))
INDICES = ["gap", "run", "bitmap", "range"]
VALUES = ["f32", "f16", "bf16", "i8"]
VALUE_BYTES = dict(zip(VALUES, [4, 2, 2, 1]))
FLOATS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
OPERATIONS = ["set", "add"]
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32}
WORDS = 0x80


class Refused(Exception):
    """The stream is not good."""


def require(condition, what):
    if not condition:
        raise Refused(what)


def padded(length):
    return (length + 7) // 8 * 8


# --- safetensors ---------------------------------------------------------------------------------------------------


class Model:
    """A safetensors file in memory; its tensors are views that can be written to."""

    def __init__(self, path):
        self.bytes = np.fromfile(path, dtype=np.uint8)
        (length,) = struct.unpack("<Q", self.bytes[:8].tobytes())
        header = json.loads(self.bytes[8 : 8 + length].tobytes())
        header.pop("__metadata__", None)
        self.tensors = {}
        for name in sorted(header, key=lambda each: each.encode()):
            begin, end = (8 + length + offset for offset in header[name]["data_offsets"])
            self.tensors[name] = (header[name]["dtype"], header[name]["shape"], self.bytes[begin:end])

    def digest(self):
        digest = hashlib.sha256()
        for name, (dtype, shape, data) in self.tensors.items():
            for text in (name.encode(), dtype.encode()):
                digest.update(struct.pack("<I", len(text)) + text)
            digest.update(struct.pack(f"<I{len(shape)}QQ", len(shape), *shape, len(data)))
            digest.update(data.tobytes())
        return digest.digest()


def unit_bytes(dtype):
    """Bytes of what frames number: an element, or a word of one."""
    return min(4, max(1, BITS[dtype] // 8))


def described(dtype, shape, data):
    """What a TENSOR frame says: dtype byte and shape."""
    if BITS[dtype] == 64 or BITS[dtype] < 8:
        return DTYPES.index(dtype) | WORDS, [len(data) // unit_bytes(dtype)]
    return DTYPES.index(dtype), shape


def exact_values(dtype):
    return FLOATS.get(dtype) or {4: "f32", 2: "f16", 1: "i8"}[unit_bytes(dtype)]


# --- numbers -------------------------------------------------------------------------------------------------------


def to_float32(kind, bits):
    """The numbers of raw values, or of elements of the float type of the same name."""
    if kind == "f32":
        return bits.view(np.float32)
    if kind == "f16":
        return bits.view(np.float16).astype(np.float32)
    if kind == "bf16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.view(np.int8).astype(np.float32)


def from_float32(kind, numbers):
    """Bits of the nearest numbers of a float type, ties to even; one NaN for all."""
    nan = np.isnan(numbers)
    if kind == "f32":
        bits, quiet = numbers.astype(np.float32).view(np.uint32).copy(), 0x7FC00000
    elif kind == "f16":
        bits, quiet = numbers.astype(np.float16).view(np.uint16).copy(), 0x7E00
    else:
        raw = numbers.astype(np.float32).view(np.uint32).astype(np.uint64)
        bits, quiet = ((raw + 0x7FFF + (raw >> 16 & 1)) >> 16).astype(np.uint16), 0x7FC0
    bits[nan] = quiet
    return bits


def change(dtype, data, at, operation, values, scale, raw):
    """Changes the elements `at`; `raw` are the values as they came."""
    units = data.view(UNSIGNED[unit_bytes(dtype)])
    if operation == "set" and values == exact_values(dtype) and (values != "i8" or scale == 1):
        units[at] = raw
        return
    require(dtype in FLOATS, f"{dtype} takes its bits alone")
    kind = FLOATS[dtype]
    with np.errstate(all="ignore"):
        given = to_float32(values, raw)
        if values == "i8":
            given = given * np.float32(scale)
        if operation == "add":
            given = to_float32(kind, units[at]) + given
        units[at] = from_float32(kind, given)


# --- indices -------------------------------------------------------------------------------------------------------


def leb(numbers):
    out = bytearray()
    for number in map(int, numbers):
        while number >= 0x80:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def unleb(data):
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            require(shift == 7 or byte != 0, "a varint is not minimal")
            require(shift <= 35, "a varint is longer than 5 bytes")
            numbers.append(number)
            number, shift = 0, 0
    require(shift == 0, "a varint is cut off")
    return numbers


def encode_indices(kind, at):
    if kind == "range":
        return b"" if at[-1] - at[0] + 1 == len(at) else None
    gaps = np.diff(at) - 1
    if kind == "gap":
        return leb(gaps)
    if kind == "bitmap":
        bits = np.zeros(int(at[-1] - at[0]) + 1, dtype=np.uint8)
        bits[(at - at[0]).astype(np.int64)] = 1
        return np.packbits(bits, bitorder="little").tobytes()
    breaks = np.flatnonzero(gaps)
    starts = np.concatenate(([0], breaks + 1))
    lengths = np.diff(np.concatenate((starts, [len(at)]))) - 1
    return leb(np.column_stack((np.concatenate(([0], gaps[breaks])), lengths)).ravel())


def decode_indices(kind, first, last, count, data):
    if kind == "range":
        require(len(data) == 0, "a range has no index bytes")
        at = np.arange(first, last + 1)
    elif kind == "gap":
        at = first + np.concatenate(([0], np.cumsum(np.array(unleb(data), dtype=np.int64) + 1)))
    elif kind == "bitmap":
        require(len(data) == (last - first) // 8 + 1, "the bitmap has another length")
        at = first + np.flatnonzero(np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little"))
    else:
        numbers = unleb(data)
        require(len(numbers) % 2 == 0 and numbers[:1] == [0], "the runs do not begin or end as they should")
        runs, free = [], first
        for gap, length in zip(numbers[::2], numbers[1::2]):
            runs.append(np.arange(free + gap, free + gap + length + 1))
            free += gap + length + 1
        at = np.concatenate(runs)
    require(len(at) == count and at[0] == first and at[-1] == last, "the indices are not those of the header")
    return at.astype(np.int64)


# --- reading -------------------------------------------------------------------------------------------------------


def frames(stream):
    """Type, header and payload of every frame, each verified by itself and in its place."""
    at = sequence = 0
    chain = bytes(32)
    while True:
        require(len(stream) >= at + 32, "the stream ended before its END frame")
        magic, kind, flags, length, payload_length, number, offset, payload_crc, crc = struct.unpack_from(
            "<4sBBHIIQII", stream, at
        )
        require(magic == b"WPF1" and kind in (1, 2, 3, 4) and flags == 0, "no frame")
        require(length % 8 == 0 and length <= 512 and payload_length <= 2**20, "a length is over its cap")
        header, payload = stream[at : at + length], stream[at + length : at + length + payload_length]
        require(len(header) == length and len(payload) == payload_length, "the stream ended inside a frame")
        require(crc == zlib.crc32(header[:28] + bytes(4) + header[32:]), "the header CRC does not match")
        require(payload_crc == zlib.crc32(payload), "the payload CRC does not match")
        require((number, offset) == (sequence, at), "the frame is out of its place")
        require((kind == 1) == (sequence == 0), "OPEN is the first frame, and the only one")
        at += length + payload_length
        sequence += 1
        if kind == 4:
            require(header[56:88] == chain, "the chain does not match")
            require(struct.unpack_from("<I", header, 32)[0] == sequence, "another number of frames")
            require(struct.unpack_from("<Q", header, 48)[0] == at == len(stream), "another number of bytes")
        chain = hashlib.sha256(chain + header).digest()
        yield kind, header, payload
        if kind == 4:
            return


def read_tensor(model, header, last_id):
    number, code, rank, name_length, count = struct.unpack_from("<IBBHQ", header, 32)
    shape = list(struct.unpack_from(f"<{rank}Q", header, 48))
    name = header[48 + 8 * rank :][:name_length].decode()
    require(number > last_id, "the tensors are out of order")
    require(name in model.tensors, f"the model has no tensor {name}")
    dtype, own_shape, data = model.tensors[name]
    require((code, shape) == described(dtype, own_shape, data), f"tensor {name} is another in the model")
    require(count == len(data) // unit_bytes(dtype), "another number of elements")
    return number, dtype, data


def read_patch(header, payload, tensor, covered):
    number, dtype, data = tensor
    own, count, first, last, operation, indices, values, zero, length, scale, zeros = struct.unpack_from(
        "<IIQQBBBBIfI", header, 32
    )
    require(own == number and covered < first <= last < len(data) // unit_bytes(dtype), "out of bounds")
    require(zero == zeros == 0 and operation < 2 and indices < 4 and values < 4, "an unknown encoding")
    values = VALUES[values]
    value_bytes = count * VALUE_BYTES[values]
    require(padded(value_bytes + length) == len(payload), "the payload has another length")
    require(not any(payload[value_bytes + length :]), "the padding is not zero")
    at = decode_indices(INDICES[indices], first, last, count, payload[value_bytes : value_bytes + length])
    raw = np.frombuffer(payload[:value_bytes], dtype=UNSIGNED[VALUE_BYTES[values]])
    change(dtype, data, at, OPERATIONS[operation], values, scale, raw)
    return last, count


def apply(base, patch, out):
    """Writes what the patch makes of the base. Raises Refused, with nothing written, for a stream that is not good."""
    model = Model(base)
    base_digest = model.digest()
    stream = open(patch, "rb").read()
    tensor, covered, changed, tensors = (-1, None, None), -1, 0, 0
    for kind, header, payload in frames(stream):
        if kind == 1:
            announced = struct.unpack_from("<I", header, 68)[0]
            require(header[96:128] == base_digest, "the patch is for another base")
        elif kind == 2:
            tensor, covered, tensors = read_tensor(model, header, tensor[0]), -1, tensors + 1
        elif kind == 3:
            covered, count = read_patch(header, payload, tensor, covered)
            changed += count
        else:
            counted = struct.unpack_from("<IQ", header, 36)
            require(counted == (tensors, changed) and announced == tensors, "the counts do not add up")
            require(header[88:120] == model.digest(), "the patched model has another digest")
    model.bytes.tofile(out)
    return {"changed": changed, "tensors": tensors, "digest": model.digest().hex()}


# --- writing -------------------------------------------------------------------------------------------------------


class Writer:
    def __init__(self):
        self.frames, self.length, self.chain = [], 0, bytes(32)
        self.tensors = self.changed = 0

    def frame(self, kind, body, payload=b""):
        length = 32 + len(body)
        head = struct.pack(
            "<4sBBHIIQI", b"WPF1", kind, 0, length, len(payload), len(self.frames), self.length, zlib.crc32(payload)
        )
        header = head + struct.pack("<I", zlib.crc32(head + bytes(4) + body)) + body
        self.frames.append(header + payload)
        self.length += len(header) + len(payload)
        self.chain = hashlib.sha256(self.chain + header).digest()

    def open(self, job, tensors, params, base_digest):
        model = job["model"].encode()
        body = bytes(range(16)) + struct.pack("<QQII", *job["versions"], job["epoch"], tensors)
        body += struct.pack("<QQfI", params, 0, 0, 2**18) + base_digest + struct.pack("<H6x", len(model))
        self.frame(1, body + model.ljust(padded(len(model)), b"\0"))

    def tensor(self, number, name, dtype, shape, data):
        code, shape = described(dtype, shape, data)
        text = name.encode()
        body = struct.pack("<IBBHQ", number, code, len(shape), len(text), len(data) // unit_bytes(dtype))
        self.frame(2, body + struct.pack(f"<{len(shape)}Q", *shape) + text.ljust(padded(len(text)), b"\0"))
        self.tensors += 1

    def patch(self, number, at, raw, values, operation="set", scale=0.0, indices=None):
        """One frame; the smallest index encoding where none is asked for."""
        encoded = {kind: encode_indices(kind, at) for kind in ([indices] if indices else reversed(INDICES))}
        kind = min((each for each in encoded if encoded[each] is not None), key=lambda each: len(encoded[each]))
        payload = raw.tobytes() + encoded[kind]
        body = struct.pack("<IIQQ", number, len(at), int(at[0]), int(at[-1]))
        codes = OPERATIONS.index(operation), INDICES.index(kind), VALUES.index(values)
        body += struct.pack("<BBBBIfI", *codes, 0, len(encoded[kind]), scale, 0)
        self.frame(3, body, payload.ljust(padded(len(payload)), b"\0"))
        self.changed += len(at)

    def end(self, target_digest):
        counts = struct.pack("<IIQQ", len(self.frames) + 1, self.tensors, self.changed, self.length + 120)
        self.frame(4, counts + self.chain + target_digest)
        return b"".join(self.frames)


def params(model):
    return sum(len(data) // unit_bytes(dtype) for dtype, _, data in model.tensors.values())


def make(job):
    """The exact patch from base to target, 10,000 elements a frame."""
    base, target = Model(job["base"]), Model(job["target"])
    changes = []
    for number, (name, (dtype, shape, data)) in enumerate(base.tensors.items()):
        unit = UNSIGNED[unit_bytes(dtype)]
        at = np.flatnonzero(data.view(unit) != target.tensors[name][2].view(unit))
        if len(at) > 0:
            changes.append((number, name, dtype, shape, data, at, target.tensors[name][2].view(unit)[at]))
    writer = Writer()
    writer.open(job, len(changes), params(base), base.digest())
    for number, name, dtype, shape, data, at, raw in changes:
        writer.tensor(number, name, dtype, shape, data)
        values = exact_values(dtype)
        for k in range(0, len(at), 10_000):
            writer.patch(number, at[k : k + 10_000], raw[k : k + 10_000], values, scale=float(values == "i8"))
    open(job["patch"], "wb").write(writer.end(target.digest()))
    return {"changed": writer.changed}


def bend(job):
    """Changes random elements of every tensor in the encodings asked for; the target is what becomes of the base."""
    random = np.random.default_rng(job["seed"])
    indices, values, operation = job["indices"], job["values"], job["operation"]
    target = Model(job["base"])
    base_digest, writer = target.digest(), Writer()
    writer.open(job, len(target.tensors), params(target), base_digest)
    for number, (name, (dtype, shape, data)) in enumerate(target.tensors.items()):
        writer.tensor(number, name, dtype, shape, data)
        size = len(data) // unit_bytes(dtype)
        count = int(random.integers(1, size // 2))
        first = int(random.integers(0, size - count))
        spread = np.sort(random.choice(size, count, replace=False))
        at = np.arange(first, first + count) if indices == "range" else spread
        raw = random.integers(0, 256, count * VALUE_BYTES[values], dtype=np.uint8).view(UNSIGNED[VALUE_BYTES[values]])
        scale = float(np.float32(random.normal())) if values == "i8" and dtype in FLOATS else float(values == "i8")
        writer.patch(number, at, raw, values, operation, scale, indices)
        change(dtype, data, at, operation, values, scale, raw)
    target.bytes.tofile(job["target"])
    open(job["patch"], "wb").write(writer.end(target.digest()))
    return {"changed": writer.changed}


def run(job):
    try:
        if job["do"] == "apply":
            return apply(job["base"], job["patch"], job["out"])
        return make(job) if job["do"] == "make" else bend(job)
    except Refused as refused:
        return {"refused": str(refused)}


if __name__ == "__main__":
    json.dump([run(job) for job in json.load(sys.stdin)], sys.stdout)
