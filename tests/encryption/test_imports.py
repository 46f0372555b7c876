import subprocess
import sys

CODE = """
import sys
import {modules}
held = [name for name in sys.modules if name == "tenseal" or name in {forbidden}]
assert not held, held
"""
SECRET = [
    f"fedjoint.encryption.{name}"
    for name in ("keys", "ceremony", "scheme", "seeded", "decryption", "tags", "key_files")
]


def imports_none_of(modules, forbidden):
    code = CODE.format(modules=", ".join(f"fedjoint.encryption.{name}" for name in modules), forbidden=forbidden)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_what_the_coordinator_uses_loads_neither_secret_keys_nor_a_native_library():
    done = imports_none_of(["parameters", "binding", "ciphertext", "dot", "frames", "scratch", "fixed_point"], SECRET)
    assert done.returncode == 0, done.stderr


def test_the_seeded_scheme_works_without_tenseal():
    done = imports_none_of(["scheme", "seeded", "decryption", "ceremony", "key_files", "scratch"], [])
    assert done.returncode == 0, done.stderr
