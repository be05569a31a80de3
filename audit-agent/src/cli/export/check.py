#!/usr/bin/env python3
"""Checks an evidence bundle of audit-agent with Python's standard library and the openssl command.

In: the directory of this file (records.jsonl, epochs.jsonl, proofs/), and the log's public key, which has to come
another way than the bundle. Out: exit status 0 and "GOOD", or 1 and what is wrong.

Formats: RFC 6962 and RFC 9162 (Merkle trees), c2sp.org/signed-note, c2sp.org/tlog-proof, docs/ledger.md.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410, before the 32 bytes of the key


class Bad(Exception):
    """What is wrong."""


def sha256(data):
    return hashlib.sha256(data).digest()


def read_key(text):
    """Name, key id and Ed25519 key of `<name>+<id>+<base64>`."""
    name, key_id, encoded = text.strip().split("+", 2)
    blob = base64.b64decode(encoded, validate=True)
    if blob[0] != 1 or len(blob) != 33:
        raise Bad("not an Ed25519 key: " + text)
    if sha256(name.encode() + b"\n" + blob)[:4].hex() != key_id:
        raise Bad("the key id does not fit the key: " + text)
    return name, key_id, blob[1:]


def verify(key, message, signature):
    """Ed25519 by openssl."""
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch)
        (path / "key").write_bytes(ED25519_SPKI + key)
        (path / "message").write_bytes(message)
        (path / "signature").write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", path / "key"]
        command += ["-in", path / "message", "-sigfile", path / "signature"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def read_checkpoint(note, log):
    """Size and root of a checkpoint that the log's key signed."""
    name, key_id, key = log
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, blob = line.split(" ")
        blob = base64.b64decode(blob, validate=True)
        if dash == "\u2014" and signer == name and blob[:4].hex() == key_id:
            if not verify(key, text.encode(), blob[4:]):
                raise Bad("the checkpoint's signature is not the log's")
            origin, size, root = text.split("\n")[:3]
            if origin != name:
                raise Bad("the checkpoint is another log's")
            return int(size), base64.b64decode(root, validate=True)
    raise Bad("the checkpoint is not signed with this key")


def root_of_path(index, size, leaf, path):
    """RFC 9162 section 2.1.3.2: the root that the path leads to, or None."""
    at, last, result = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            result = sha256(b"\x01" + sibling + result)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            result = sha256(b"\x01" + result + sibling)
        at >>= 1
        last >>= 1
    return result if last == 0 and index < size else None


def check_proof(proof, seq, line, log, checkpoints):
    """Whether the line is in the tree that the log's key signed."""
    head, note = proof.split("\n\n", 1)
    words = head.split("\n")
    if words[0] != "c2sp.org/tlog-proof@v1":
        raise Bad("not a tlog-proof")
    words = [word for word in words[1:] if not word.startswith("extra ")]
    if words[0] != f"index {seq}":
        raise Bad("the proof is of another record")
    if note not in checkpoints:
        checkpoints[note] = read_checkpoint(note, log)
    size, root = checkpoints[note]
    path = [base64.b64decode(word, validate=True) for word in words[1:]]
    if root_of_path(seq, size, sha256(b"\x00" + line), path) != root:
        raise Bad("the record is not in the tree of the checkpoint")


def canonical(record):
    """RFC 8785, for records: ASCII member names and whole numbers only."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def check_signature(record, line, signer):
    """Whether the key of its epoch signed the record."""
    name, key_id, key = signer
    if canonical(record) != line:
        raise Bad("not in canonical form")
    if record["key_id"] != key_id:
        raise Bad(f"not signed with {name}")
    signature = base64.b64decode(record["signature"], validate=True)
    unsigned = {member: value for member, value in record.items() if member != "signature"}
    if not verify(key, b"audit-agent/record/v1\n" + canonical(unsigned), signature):
        raise Bad("the signature is not its epoch's")


def lines_of(path):
    for line in path.read_bytes().splitlines():
        yield line, json.loads(line)


def check(bundle, log):
    """Checks every line; gives how many there are."""
    name = log[0]
    checkpoints = {}

    def one(line, record, signer):
        if record["log_id"] != name:
            raise Bad("of another log")
        check_signature(record, line, signer)
        proof = (bundle / "proofs" / f"{record['seq']}.tlog-proof").read_text(encoding="utf-8")
        check_proof(proof, record["seq"], line, log, checkpoints)

    # The log's key signs the hand-over to the first epoch, each epoch's key the one to the next.
    signers, epoch, last = {}, 0, -1
    signer = log
    for line, record in lines_of(bundle / "epochs.jsonl"):
        try:
            one(line, record, signer)
            following = record["next_epoch"]
            if record["record_type"] != "epoch" or record["epoch"] != epoch or record["seq"] <= last:
                raise Bad("not the next hand-over")
            if epoch and following != epoch + 1:
                raise Bad("an epoch is missing")
            signer = read_key(record["next_key"])
            if signer[0] != f"{name}/epoch/{following}":
                raise Bad("hands over to a key of another name")
            signers[epoch] = (last, record["seq"], log if epoch == 0 else signers["key"])
            signers["key"], epoch, last = signer, following, record["seq"]
        except (Bad, KeyError, ValueError) as wrong:
            raise Bad(f"hand-over {record.get('seq')}: {wrong}") from wrong
    if "key" not in signers:
        raise Bad("there is no hand-over")
    signers[epoch] = (last, None, signers["key"])
    count = 0
    for line, record in lines_of(bundle / "records.jsonl"):
        try:
            after, until, signer = signers[record["epoch"]]
            if record["seq"] <= after or until is not None and record["seq"] > until:
                raise Bad("its epoch was not open at its place")
            one(line, record, signer)
        except (Bad, KeyError, ValueError) as wrong:
            raise Bad(f"record {record.get('seq')}: {wrong}") from wrong
        count += 1
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--key", required=True, help="the log's public key as the auditor has it, or a file of it")
    parser.add_argument("--bundle", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    try:
        text = arguments.key if "+" in arguments.key else pathlib.Path(arguments.key).read_text()
        count = check(arguments.bundle, read_key(text))
    except (Bad, OSError, ValueError, KeyError, IndexError) as wrong:
        print(f"BAD: {wrong}")
        return 1
    print(f"GOOD: {count} records are in the log and were signed in their epoch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
