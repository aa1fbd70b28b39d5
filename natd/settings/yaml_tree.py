"""A YAML file as a tree that knows its lines, so that each mistake can be told with its place.

The library is loaded when there is a file to read: a daemon without one does without.
"""

from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from natd.host.errors import ConfigError

if TYPE_CHECKING:
    import yaml

FILE_LIMIT_BYTES = 1 << 20
"""Larger than any configuration: a file of this size is the wrong one."""


def read_tree(
    file: Path, problems: list[ConfigError], *, is_required: bool
) -> "yaml.MappingNode | None":
    """The file's tree; None when it is empty, absent (a problem if `is_required`) or unusable,
    and then what is wrong goes into `problems`."""
    import yaml

    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_LIMIT_BYTES + 1)
        if len(data) > FILE_LIMIT_BYTES:
            problems.append(ConfigError("expected a file of at most 1 MiB", file=str(file)))
            return None
        root = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        if is_required:
            problems.append(ConfigError("there is no such file", file=str(file)))
        return None
    except OSError as error:
        problems.append(ConfigError(f"can't be read: {error.strerror}", file=str(file)))
        return None
    except UnicodeDecodeError:
        problems.append(ConfigError("expected UTF-8 text", file=str(file)))
        return None
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        problems.append(ConfigError(f"not YAML: {_yaml_words(error)}", file=str(file), line=line))
        return None
    except (yaml.YAMLError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else "unreadable characters"
        problems.append(ConfigError(f"not YAML: {reason}", file=str(file)))
        return None
    if root is None or is_null(root):
        return None
    if not isinstance(root, yaml.MappingNode):
        problems.append(ConfigError("expected `key: value` lines", file=str(file), line=1))
        return None
    return root


def plain(node: "yaml.Node", depth: int = 0) -> object:
    """A scalar or a list of scalars as `yaml.safe_load` would give it; a mapping as {}."""
    import yaml

    if isinstance(node, yaml.SequenceNode) and depth == 0:
        return [plain(item, 1) for item in node.value]
    if not isinstance(node, yaml.ScalarNode):
        return {}
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError):
        raise ValueError(f"expected a plain value, got the tag {node.tag!a}") from None


def _yaml_words(error: "yaml.MarkedYAMLError") -> str:
    """The two mistakes that are made most, in words of those who make them."""
    problem = str(error.problem)
    if "'\\t'" in problem:
        return f"{problem} (indent with spaces)"
    if problem.startswith("mapping values"):
        return f"{problem} (is it indented too far, or a quote missing?)"
    return problem


def is_null(node: "yaml.Node") -> bool:
    """Nothing behind the colon, or `null`."""
    return bool(node.tag == "tag:yaml.org,2002:null")


def is_mapping(node: "yaml.Node") -> "TypeGuard[yaml.MappingNode]":
    """Indented `key: value` lines."""
    import yaml

    return isinstance(node, yaml.MappingNode)
