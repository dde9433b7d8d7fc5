"""What the shell of an ssh device is asked to do: POSIX sh, filled in by `str.format`.

Every value is quoted before it is filled in. ``folder`` is where things are kept there; in it,
``files`` holds code and models by their hash, and ``venv`` what ``--install`` installed.
"""

# Prints the folder, the Python, what that lacks, and the files that are there. Changes nothing.
# ``named`` is empty when the virtual environment may stand in for ``python``.
LOOK = """
folder={folder}
python={python}
if [ -e "$folder/venv/.complete" ] && [ -z "{named}" ]; then python=$folder/venv/bin/python; fi
if ! command -v "$python" >/dev/null; then echo "missing $python"; exit 0; fi
echo "folder $folder"
echo "python $python"
"$python" -c '
import sys
try:
    from importlib.util import find_spec
except ImportError:
    find_spec = None
print("version %d.%d" % sys.version_info[:2])
for name in "numpy", "onnxruntime":
    if find_spec and find_spec(name) is None:
        print("lacks " + name)
' || exit 1
if [ -d "$folder/files" ]; then cd "$folder/files" && for f in *; do echo "file $f"; done; fi
"""

# Writes what comes in to a file, which is there whole or not at all: a connection that drops ends
# the input early. Files that were not used for a month go.
SEND = """
mkdir -p {folder}/files && cd {folder}/files || exit 1
find . -type f -mtime +30 -exec rm -f {{}} + 2>/dev/null
part=.{name}.$$
cat > "$part" && [ "$(wc -c < "$part")" -eq {size} ] && mv "$part" {name} && exit 0
rm -f "$part"
exit 1
"""

# Becomes the runner. Its own folder is the current one, so that models have short names.
RUN = """
cd {folder} && touch {files} || exit 1
export PYTHONSAFEPATH=1 PYTHONPATH={code}"${{PYTHONPATH:+:$PYTHONPATH}}"
exec {python} {runner}
"""

# Removes files, and the folders if nothing else is in them.
REMOVE = """
cd {folder} && rm -f {files} && rmdir files 2>/dev/null && cd / && rmdir {folder} 2>/dev/null
exit 0
"""

# Makes the virtual environment, whole or not at all.
INSTALL = """
mkdir -p {folder} && cd {folder} || exit 1
rm -rf venv
{python} -m venv venv &&
    venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: \
        {packages} &&
    touch venv/.complete && exit 0
rm -rf venv
cd / && rmdir {folder} 2>/dev/null
exit 1
"""
