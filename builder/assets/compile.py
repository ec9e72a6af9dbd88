"""Compiles Python sources to .pyc files whose bytes depend only on the sources.

    python -S -c THIS_FILE WORKERS DIRECTORY...

Like `compileall --invalidation-mode unchecked-hash`, but without two effects of the compiling
process. marshal flags an object that has other references, for example a string that this process
uses too: so this script keeps a reference to every object, and all are flagged. And marshal writes
a string of one character as interned if it was ever interned: so all of them are interned.

A file that is not valid Python (a template, Python 2) is left out, and its name is printed.
"""

import importlib.util
import marshal
import os
import sys
import types

SKIPPED = {"node_modules", "__pycache__"}
UNCHECKED_HASH = (0b01).to_bytes(4, "little")
# Earlier versions of marshal write a set in the order of its hashes, and the hash of None is its
# address.
SORTS_SETS = sys.version_info >= (3, 11)


def sources(directory):
    """Every regular .py file below the directory; links are not followed."""
    for parent, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if name not in SKIPPED]
        paths = (os.path.join(parent, name) for name in names if name.endswith(".py"))
        yield from (path for path in paths if os.path.isfile(path) and not os.path.islink(path))


def normalize(value, referenced):
    """Returns a copy of a constant or code object in which equal parts are the same object exactly if
    Python interns them, and adds each part to `referenced`."""
    if isinstance(value, str):
        value = (value + " ")[:-1]
    elif isinstance(value, tuple):
        value = tuple([normalize(one, referenced) for one in value])
    elif isinstance(value, frozenset):
        if None in value and not SORTS_SETS:
            raise ValueError("a set with None has no fixed order in this version of Python")
        value = frozenset([normalize(one, referenced) for one in value])
    elif isinstance(value, types.CodeType):
        value = value.replace(co_consts=normalize(value.co_consts, referenced))
        referenced += value.co_names + value.co_varnames + value.co_freevars + value.co_cellvars
        referenced += (value.co_name, getattr(value, "co_qualname", None), value.co_filename)
        referenced += value.co_consts
    referenced.append(value)
    return value


def compile_one(path):
    with open(path, "rb") as file:
        source = file.read()
    code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    referenced = []
    content = marshal.dumps(normalize(code, referenced))
    target = importlib.util.cache_from_source(path, optimization="")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(importlib.util.MAGIC_NUMBER + UNCHECKED_HASH)
        file.write(importlib.util.source_hash(source) + content)


def work(paths):
    for path in paths:
        try:
            compile_one(path)
        # A full disk or a similar failure, which the source did not cause: the file is not left out.
        except OSError:
            raise
        except Exception as error:
            print(f"left out {path!r}: {type(error).__name__}: {error}".splitlines()[0], flush=True)


def main(workers, directories):
    for number in range(256):
        sys.intern(chr(number))
    paths = sorted(path for directory in directories for path in sources(directory))
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
    print(f"{len(paths)} Python sources")


main(int(sys.argv[1]), sys.argv[2:])
