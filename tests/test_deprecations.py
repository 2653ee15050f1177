"""What dependencies give up fails tests, as long as it still works."""

import os
import warnings

import deprecations
import pytest
import tensorflow as tf
from jupyter_client.manager import start_new_kernel
from numpy.exceptions import VisibleDeprecationWarning
from tensorflow.python.util.deprecation import deprecated

OURS = ("hpa_lib", "hpa_lib.labels", "test_labels", "conftest")
CATEGORIES = (
    DeprecationWarning, PendingDeprecationWarning, FutureWarning, VisibleDeprecationWarning
)  # fmt: skip
IN_A_KERNEL = """
import warnings

def given_up():
    warnings.warn("use another", {category}, stacklevel=2)

try:
    exec("given_up()", {{"given_up": given_up, "__name__": {module!r}}})
    print("goes on")
except {category}:
    print("fails")
"""


def given_up(category=DeprecationWarning):
    warnings.warn("use another", category, stacklevel=2)


def call(function, module):
    """Call a function from a module of some name."""
    file = f"{module.replace('.', '/')}.py"
    exec(compile("function()", file, "exec"), {"function": function, "__name__": module})


@pytest.mark.parametrize("module", OURS)
@pytest.mark.parametrize("category", CATEGORIES)
def test_a_deprecated_call_fails_in_our_modules(category, module):
    with pytest.raises(category, match="use another"):
        call(lambda: given_up(category), module)


@pytest.mark.parametrize("category", CATEGORIES)
def test_what_dependencies_make_of_each_other_is_their_own(category):
    def dependency():
        call_of_another = {"given_up": given_up, "category": category, "__name__": "keras.layers"}
        exec("given_up(category)", call_of_another)

    with pytest.warns(category, match="use another"):
        call(dependency, "hpa_lib.models")


@pytest.fixture
def tensorflow_function():
    """A function that TensorFlow marks as given up, as it does its own."""

    @deprecated(None, "Use another.", warn_once=False)
    def function():
        return 1

    return function


def test_what_tensorflow_only_logs_fails_too(tensorflow_function):
    with pytest.raises(DeprecationWarning, match="Use another"):
        call(tensorflow_function, "hpa_lib.models")


def test_what_tensorflow_logs_of_others_is_no_failure(tensorflow_function):
    with pytest.warns(DeprecationWarning, match="Use another"):
        call(tensorflow_function, "keras.layers")
    tf.get_logger().warning("The disk is %s.", "full")


@pytest.fixture(scope="module")
def kernel():
    """Function that runs code in a kernel with `deprecations.environment`; returns its output."""
    manager, client = start_new_kernel(env=os.environ | deprecations.environment())

    def run(code):
        printed = []
        client.execute_interactive(
            code, timeout=60,
            output_hook=lambda message: printed.append(message["content"].get("text", "")),
        )  # fmt: skip
        return "".join(printed).strip()

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("category", deprecations.CATEGORIES)
@pytest.mark.parametrize("module", ["__main__", "hpa_lib.labels"])
def test_it_fails_in_cells_of_notebooks_and_what_they_call(kernel, module, category):
    assert kernel(IN_A_KERNEL.format(category=category, module=module)) == "fails"


@pytest.mark.parametrize("category", deprecations.CATEGORIES)
def test_a_kernel_goes_on_after_what_dependencies_make_of_each_other(kernel, category):
    printed = kernel(IN_A_KERNEL.format(category=category, module="keras.layers"))
    assert "goes on" in printed.splitlines()
