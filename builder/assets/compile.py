"""Compiles python sources to .pyc files whose bytes depend on the sources alone.

    python -S -c THIS_FILE WORKERS FOLDER...

Like `compileall --invalidation-mode unchecked-hash`, but for two traces of the process that
compiles. marshal marks an object to which anything else refers: a string that this process
happens to use too. So each object is held here as well, and all are marked. And it writes a
string of one character as interned if it ever was: so all are.

A file that is no python (a template, python 2) is left out, and named on stdout.
"""

import importlib.util
import marshal
import os
import sys
import types

SKIPPED = {"node_modules", "__pycache__"}
UNCHECKED_HASH = (0b01).to_bytes(4, "little")
# Before it, marshal wrote a set in the order of its hashes, and None's is its address.
SORTS_SETS = sys.version_info >= (3, 11)


def sources(folder):
    """Every regular .py file below, links not followed."""
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED]
        paths = (os.path.join(here, name) for name in names if name.endswith(".py"))
        yield from (path for path in paths if os.path.isfile(path) and not os.path.islink(path))


def settle(value, held):
    """A constant or code object whose parts are one object where Python interns them, and only
    there; each is held."""
    if isinstance(value, str):
        value = (value + " ")[:-1]
    elif isinstance(value, tuple):
        value = tuple([settle(one, held) for one in value])
    elif isinstance(value, frozenset):
        if None in value and not SORTS_SETS:
            raise ValueError("a set with None has no fixed order in this python")
        value = frozenset([settle(one, held) for one in value])
    elif isinstance(value, types.CodeType):
        value = value.replace(co_consts=settle(value.co_consts, held))
        held += value.co_names + value.co_varnames + value.co_freevars + value.co_cellvars
        held += (value.co_name, getattr(value, "co_qualname", None), value.co_filename)
        held += value.co_consts
    held.append(value)
    return value


def compile_one(path):
    with open(path, "rb") as file:
        source = file.read()
    code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    held = []
    content = marshal.dumps(settle(code, held))
    target = importlib.util.cache_from_source(path, optimization="")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(importlib.util.MAGIC_NUMBER + UNCHECKED_HASH)
        file.write(importlib.util.source_hash(source) + content)


def work(paths):
    for path in paths:
        try:
            compile_one(path)
        # Not the source's affair, but a full disk or the like: not to be taken for one.
        except OSError:
            raise
        except Exception as error:
            print(f"left out {path!r}: {type(error).__name__}: {error}".splitlines()[0], flush=True)


def main(workers, folders):
    for number in range(256):
        sys.intern(chr(number))
    paths = sorted(path for folder in folders for path in sources(folder))
    children = []
    for worker in range(workers):
        child = os.fork()
        if child == 0:
            work(paths[worker::workers])
            sys.stdout.flush()
            os._exit(0)
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children]
    if any(ends):
        sys.exit(f"failed to compile: a worker ended with wait status {max(ends)}")
    print(f"{len(paths)} python sources")


main(int(sys.argv[1]), sys.argv[2:])
