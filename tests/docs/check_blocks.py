"""check_blocks.py SOURCE SHOAL SHOWN...: no block of a page is out of date. C++, C, Python and CMake: the block
stands, line by line, in one of the files SHOWN, which tests compile and run. Commands: they and the files that
they name are there, and their flags are known to their --help. Only blocks of `text` go unchecked."""
import pathlib
import re
import shlex
import subprocess
import sys

from blocks import blocks_of

CODE = {"cpp": (".cpp", ".hpp"), "c": (".c", ".h"), "python": (".py",), "cmake": ("CMakeLists.txt",),
        "fortran": (".f90",)}
# Not ours: what they take is for their own manuals to say.
OTHERS = {"cd", "export", "git", "sudo", "c++", "cc", "python3", "torchrun", "mpirun", "ctest", "cpack", "apt",
          "sbatch", "srun", "salloc", "cat", "dpkg", "pip", "cp", "mkdir", "./program", "ssh", "tar", "source"}
# Folders of the source tree: a word that begins with one names a file there.
FOLDERS = ("examples/", "launch/", "docs/", "bench/", "tests/", "bindings/")
helps = {}  # by command


def help_of(command):
    if command not in helps:
        done = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60, check=True)
        helps[command] = done.stdout
    return helps[command]


def flags_of(command):
    """The long and short flags that its --help names."""
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", help_of(command)))


def subcommands_of(command):
    return set(re.findall(r"^  ([a-z_]+)  ", help_of(command).partition("\nSubcommands:")[2], re.MULTILINE))


def is_piece(block, files):
    """True if the lines follow each other in a file, however far all are indented there."""
    wanted = [line.strip() for line in block.text.strip("\n").splitlines()]
    for file in files:
        lines = [line.strip() for line in file.read_text().splitlines()]
        if any(lines[i:i + len(wanted)] == wanted for i in range(len(lines) - len(wanted) + 1)):
            return True
    return False


class Commands:
    def __init__(self, source, shoal):
        self.source, self.shoal, self.problems = source, shoal, []
        self.presets = (source / "CMakePresets.json").read_text()

    def check(self, block):
        text = re.sub(r"\\\n *", " ", block.text)
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if not words:
                continue
            self.where = f"{block}: {line.strip()}"
            for word in words:
                if word.startswith(FOLDERS) and not (self.source / word).exists():
                    self.say(f"there is no {word}")
            self.command(words)

    def say(self, problem):
        self.problems.append(f"{self.where}: {problem}")

    def command(self, words):
        name = words[0]
        if name in ("sudo", "exec"):
            return self.command(words[1:])
        if name == "mpirun" or name in ("srun", "salloc"):
            for i, word in enumerate(words[1:], 1):
                if word.endswith("shoal"):
                    return self.command(words[i:])
            return None
        if name in ("shoal", "build/release/bin/shoal"):
            return self.ours(words[1:])
        if name in ("cmake",):
            for flag, value in zip(words, words[1:]):
                if flag == "--preset" and f'"{value}"' not in self.presets:
                    self.say(f"there is no preset {value}")
            return None
        if name.startswith(("launch/", "build/", ".ci/", "examples/")):
            if not name.startswith("build/") and not (self.source / name).exists():
                self.say("there is no such script")
            if name in ("launch/demo", "launch/test", "launch/docs"):
                known = flags_of((str(self.source / name),))
                for word in words[1:]:
                    # launch/test hands its flags to ctest.
                    if word.startswith("--") and word.split("=")[0] not in known and name != "launch/test":
                        self.say(f"{name} has no {word}")
            return None
        if name not in OTHERS and not name.startswith("#"):
            self.say("a command that is unknown here: teach check_blocks.py what it is")
        return None

    def ours(self, words):
        """A subcommand of shoal, perhaps with another command behind --."""
        command = (self.shoal,)
        while words and words[0] in subcommands_of(command):
            command += (words.pop(0),)
        if words and not words[0].startswith("-") and subcommands_of(command):
            return self.say(f"{' '.join(('shoal',) + command[1:])} has no subcommand {words[0]}")
        known = flags_of(command)
        for i, word in enumerate(words):
            if word == "--":
                rest = words[i + 1:]
                if rest and rest[0] == "shoal":
                    rest.pop(0)
                elif not rest or rest[0] not in subcommands_of((self.shoal,)):
                    return None
                return self.ours(rest)
            flag = word.split("=")[0]
            if re.match(r"--?[a-zA-Z]", word) and flag not in known:
                self.say(f"{' '.join(('shoal',) + command[1:])} has no {flag}")
        return None


def main():
    source, shoal = pathlib.Path(sys.argv[1]), sys.argv[2]
    shown = [pathlib.Path(name) for name in sys.argv[3:]]
    pages = [source / "README.md", source / "CONTRIBUTING.md", *sorted((source / "docs").rglob("*.md"))]
    commands, problems, counts = Commands(source, shoal), [], {}
    for page in pages:
        for block in blocks_of(page):
            counts[block.language] = counts.get(block.language, 0) + 1
            if block.language in CODE:
                files = [file for file in shown if file.name.endswith(CODE[block.language])]
                if not is_piece(block, files):
                    problems.append(f"{block}: is not a piece of any example; copy it from one, line by line")
            elif block.language == "sh":
                commands.check(block)
            elif block.language != "text":
                problems.append(f"{block}: of no known language '{block.language}'")
    problems += commands.problems
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    print(", ".join(f"{count} of {language}" for language, count in sorted(counts.items())),
          f"in {len(pages)} pages; {len(problems)} wrong")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
