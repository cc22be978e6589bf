"""Recipes as flags, and errors as one line."""

import argparse
import errno

import pytest

from diversity_tuning.cli import Parser, command, expand_recipe, parse_with_recipe
from diversity_tuning.errors import UserError
from diversity_tuning.recipe import read_recipe


def make_parser():
    parser = argparse.ArgumentParser(prog="the.command")
    parser.add_argument("--learning_rate", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--mode", choices=["a", "b"], default="a")
    parser.add_argument("--names", nargs="+", default=["x"])
    parser.add_argument("--note", default="none given")
    parser.add_argument("--shuffle", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--extra", default=None)
    return parser


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def parsed(*argv):
    return parse_with_recipe(make_parser(), argv)


def test_without_a_recipe_the_parser_is_as_it_was():
    assert vars(parsed("--steps", "3")) == {**vars(make_parser().parse_args([])), "steps": 3, "config": None}


def test_a_recipe_stands_for_its_flags(recipe):
    path = recipe("learning_rate: 5.0e-6\nsteps: 7\nmode: b\nnote: two words, one=sign\nnames: [p, q]\n")
    args = parsed("--config", path)
    assert (args.learning_rate, args.steps, args.mode) == (5e-6, 7, "b")
    assert args.names == ["p", "q"]
    assert args.note == "two words, one=sign"


@pytest.mark.parametrize("order", [0, 1, 2])
def test_flags_override_the_recipe_wherever_they_stand(recipe, order):
    path = recipe("steps: 7\nnames: [p, q]\nshuffle: false\n")
    flags = ["--steps", "9", "--names", "r", "--shuffle"]
    argv = [["--config", path, *flags], [*flags, "--config", path], [*flags, f"--config={path}"]][order]
    args = parsed(*argv)
    assert (args.steps, args.names, args.shuffle) == (9, ["r"], True)


@pytest.mark.parametrize(("value", "shuffle", "fast"), [("true", True, True), ("false", False, False)])
def test_booleans(recipe, value, shuffle, fast):
    args = parsed("--config", recipe(f"shuffle: {value}\nfast: {value}\n"))
    assert (args.shuffle, args.fast) == (shuffle, fast)


@pytest.mark.parametrize("key", ["shuffle", "fast"])
def test_a_switch_takes_true_or_false_only(recipe, key):
    with pytest.raises(UserError, match=f"key '{key}' takes true or false, not 'often'"):
        parsed("--config", recipe(f"{key}: often\n"))


def test_none_leaves_the_default(recipe):
    assert parsed("--config", recipe("note: null\nsteps:\n")).note == "none given"


def test_numbers_and_mappings_as_text(recipe):
    args = parsed("--config", recipe("note: -3\nextra: {min_lr_rate: 0.5}\n"))
    assert args.note == "-3"
    assert args.extra == '{"min_lr_rate": 0.5}'


def test_negative_number(recipe):
    assert parsed("--config", recipe("learning_rate: -0.5\nsteps: -1\n")).steps == -1


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n"])
def test_an_empty_recipe_is_no_flags(recipe, text):
    assert expand_recipe(make_parser(), ["--config", recipe(text), "--steps", "2"]) == ["--steps", "2"]


def test_an_unknown_key_is_named_with_the_nearest(recipe):
    path = recipe("steps: 2\nlerning_rate: 0.1\n")
    with pytest.raises(UserError) as caught:
        parsed("--config", path)
    assert str(caught.value) == f"{path}: key 'lerning_rate' is not an argument of the.command; did you mean learning_rate?"


@pytest.mark.parametrize("key", ["zzz", "help", "config", "5"])
def test_keys_that_are_like_none(recipe, key):
    with pytest.raises(UserError, match=r"is not an argument of the\.command"):
        parsed("--config", recipe(f"{key}: 1\n"))


def test_the_parsers_own_checks_hold_for_a_recipe(recipe, capsys):
    for text in ("mode: c\n", "steps: many\n"):
        with pytest.raises(SystemExit) as caught:
            parsed("--config", recipe(text))
        assert caught.value.code == 2
        assert "invalid" in capsys.readouterr().err


def test_flags_are_not_abbreviated(recipe):
    with pytest.raises(SystemExit):
        parsed("--step", "3")


def test_a_missing_recipe():
    with pytest.raises(UserError, match=r"nowhere\.yaml: no such recipe"):
        parsed("--config", "nowhere.yaml")


@pytest.mark.parametrize("text", ["steps: [1\n", "a: b: c\n", "\tsteps: 1\n"])
def test_invalid_yaml(recipe, text):
    with pytest.raises(UserError, match="not valid YAML"):
        parsed("--config", recipe(text))


@pytest.mark.parametrize("text", ["- steps\n- 1\n", "just words\n", "3\n"])
def test_yaml_that_is_no_mapping(recipe, text):
    with pytest.raises(UserError, match="a recipe is a mapping"):
        parsed("--config", recipe(text))


# Errors.


def run(error=None, answer=None):
    @command
    def main(argv=None):
        if error:
            raise error
        return answer

    return main([])


def ends_with_one_line(capsys, error):
    with pytest.raises(SystemExit) as caught:
        run(error)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_a_user_error_is_one_line_and_code_2(capsys):
    assert (
        ends_with_one_line(capsys, UserError("row 3:\n  the weight\n  is negative")) == "error: row 3: the weight is negative\n"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_a_full_disk_is_one_line_and_code_2(capsys, number):
    line = ends_with_one_line(capsys, OSError(number, "No space left on device", "runs/out/model.safetensors"))
    assert "runs/out/model.safetensors: No space left on device" in line
    assert "folder" in ends_with_one_line(capsys, OSError(number, "No space left on device"))


def full_disk_of_torch():
    import torch

    torch.save({"weight": torch.zeros(300_000)}, "/dev/full")


def full_disk_of_safetensors():
    """What it says where there is no room; it replaces its target, so /dev/full cannot be used."""
    from safetensors import SafetensorError

    raise SafetensorError("I/O error: No space left on device (os error 28)")


def full_disk_of_arrow():
    import pyarrow as pa

    table = pa.table({"a": range(100_000)})
    with pa.OSFile("/dev/full", "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("write", [full_disk_of_torch, full_disk_of_safetensors, full_disk_of_arrow])
def test_a_full_disk_is_one_line_whatever_writes(capsys, write):
    @command
    def main(argv=None):
        write()

    with pytest.raises(SystemExit) as caught:
        main([])
    line = capsys.readouterr().err
    assert caught.value.code == 2
    assert line.count("\n") == 1
    assert line.startswith("error: ")
    assert "No space left on device; free some space" in line or "(No space left on device); free some space" in line


def test_a_folder_below_a_file_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory") as error:
        (tmp_path / "file" / "out").mkdir()
    assert "lies below a file, or choose another folder" in ends_with_one_line(capsys, error.value)


# Ctrl-C.


def after(first, second):
    """An error that was raised while another was handled."""
    second.__context__ = first
    return second


@pytest.mark.parametrize("error", [KeyboardInterrupt(), after(KeyboardInterrupt(), TimeoutError())], ids=["plain", "hidden"])
def test_ctrl_c_is_one_line_and_code_130(capsys, monkeypatch, error):
    """`datasets` hides it behind a TimeoutError when several processes work. Of several ranks, the first speaks."""
    for rank, line in (("0", "stopped; the same command goes on\n"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as caught:
            run(error)
        assert caught.value.code == 130
        assert capsys.readouterr() == ("", line)


# What is mistyped.


def typed(*argv):
    parser = Parser("the.command", "Does it.")
    parser.add_argument("--learning_rate", type=float)
    parser.add_argument("--source", required=True)
    parser.add_argument("--engine", choices=["local", "openai"])
    parser.add_argument("--figure", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args(argv)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--sorce", "x"], "unknown flag --sorce; did you mean --source?"),
        (["--source", "x", "--learning_rat=1"], "unknown flag --learning_rat; did you mean --learning_rate?"),
        (["--source", "x", "--zzz"], "unknown flag --zzz (see python -m the.command --help)"),
        (["--source", "x", "--engine", "openi"], "'openi' is not one of local, openai; did you mean openai?"),
        ([], "required: --source"),
    ],
)
def test_what_is_mistyped_names_the_nearest(argv, said):
    with pytest.raises(UserError) as caught:
        typed(*argv)
    assert said in str(caught.value)


def test_a_recipe_without_its_path():
    with pytest.raises(UserError, match="argument --config: expected one argument"):
        parsed("--config")


def test_dashes_are_underscores():
    args = typed("--learning-rate=0.5", "--source", "--no such flag", "--no-figure")
    assert (args.learning_rate, args.source, args.figure) == (0.5, "--no such flag", False)


def test_a_recipe_that_is_mistyped_names_the_nearest(tmp_path):
    (tmp_path / "ddpo.yaml").write_text("")
    with pytest.raises(UserError, match=rf"no such recipe; did you mean {tmp_path}/ddpo\.yaml\?"):
        read_recipe(str(tmp_path / "dppo.yaml"))


def test_a_recipe_in_another_encoding(tmp_path):
    (tmp_path / "r.yaml").write_bytes("note: caf\u00e9\n".encode("latin-1"))
    with pytest.raises(UserError, match="save it as UTF-8"):
        read_recipe(str(tmp_path / "r.yaml"))


def test_other_errors_are_faults_of_the_program():
    with pytest.raises(OSError, match="I/O"):
        run(OSError(errno.EIO, "I/O error"))
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError())


def test_the_exit_code_of_a_command():
    assert run() == 0
    assert run(answer=3) == 3


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_with_two_actions_means_what_it_says(recipe, value):
    """As transformers' parser makes for a boolean whose default is True: `--x [VALUE]` and `--no_x`."""
    from dataclasses import make_dataclass

    from transformers import HfArgumentParser

    defaults = make_dataclass("Defaults", [("kept", bool, True), ("added", bool, False)])
    parser = HfArgumentParser(defaults)
    argv = expand_recipe(parser, ["--config", recipe(f"kept: {value}\nadded: {value}\n".lower())])
    (built,) = parser.parse_args_into_dataclasses(argv)[:1]
    assert (built.kept, built.added) == (value, value)


def test_a_switch_that_only_turns_off(recipe):
    def parse(text, default=True):
        parser = argparse.ArgumentParser()
        parser.add_argument("--no_x", dest="x", action="store_false", default=default)
        return parse_with_recipe(parser, ["--config", recipe(text)]).x

    assert parse("x: false") is False
    assert parse("x: true") is True
    with pytest.raises(UserError, match="no flag sets it to true"):
        parse("x: true", default=False)


def test_a_list_for_one_value_is_named(recipe):
    with pytest.raises(UserError, match=r"key 'note' takes one value, not the list \['a', 'b'\]"):
        parsed("--config", recipe("note: [a, b]\n"))
