"""What `make build` puts into Lambda. Run by `make test`, which builds first."""

import json
import pathlib
import re
import subprocess
from typing import Any

import botocore
import pytest
from botocore.exceptions import EndpointVariantError
from botocore.regions import EndpointResolver

from tests.template.stack import TEMPLATE

ROOT = TEMPLATE.parent
BUILD = ROOT / ".aws-sam/build"
LAYER = BUILD / "RootwatchLayer"
WIRING = ROOT / "layers/rootwatch/rootwatch/wiring.py"
FUNCTIONS = {
    "DetectFunction": "detect",
    "NotifySnsFunction": "notify_sns",
    "NotifySlackFunction": "notify_slack",
    "WatchdogFunction": "watchdog",
    "TriageFunction": "triage",
    "ReportFunction": "report",
}
AARCH64 = b"\xb7\x00"  # e_machine of an ELF file, https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html


@pytest.fixture(autouse=True)
def _built() -> None:
    if not (BUILD / "template.yaml").exists():
        pytest.fail("There is no build. Run `make build`, or `make test`, which does.")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_artifact_is_one_file(function: str) -> None:
    """A function's artifact holds its own app.py and nothing else."""
    [only] = (BUILD / function).iterdir()

    assert only.name == "app.py"
    assert only.read_bytes() == (ROOT / "functions" / FUNCTIONS[function] / "app.py").read_bytes()


def test_the_layer_holds_the_package() -> None:
    """The layer has the package and what it needs under python/, where Lambda looks, and no tool of the terminal."""
    packages = {path.name for path in (LAYER / "python").iterdir()}

    assert [path.name for path in LAYER.iterdir()] == ["python"]
    assert {"rootwatch", "botocore", "requests", "aws_lambda_powertools"} <= packages
    assert not packages & {"boto3", "typer", "rich", "rootwatch_cli", "bin", "tests"}


def test_the_layer_holds_the_table_of_actions() -> None:
    """The table of IAM actions is no Python, and goes along all the same."""
    table = "rootwatch/context/role_alternatives.txt"

    assert (LAYER / "python" / table).read_bytes() == (ROOT / "layers/rootwatch" / table).read_bytes()


def test_endpoints_resolve_as_before() -> None:
    """Botocore's list of endpoints is trimmed to the services with clients; those resolve as before in every region."""
    whole = json.loads((pathlib.Path(botocore.__file__).parent / "data/endpoints.json").read_text())
    built = (LAYER / "python/botocore/data/endpoints.json").read_text()
    services = sorted(path.name for path in (LAYER / "python/botocore/data").iterdir() if path.is_dir())
    before, after = EndpointResolver(whole), EndpointResolver(json.loads(built))

    assert services
    assert len(built) < 50_000
    assert after.get_available_partitions() == before.get_available_partitions()
    for partition in before.get_available_partitions():
        for service in services:
            regions = before.get_available_endpoints(service, partition)
            assert after.get_available_endpoints(service, partition) == regions
            for region in [*regions, "us-future-1"]:
                assert endpoints(after, service, region, partition) == endpoints(before, service, region, partition)


def endpoints(resolver: EndpointResolver, service: str, region: str, partition: str) -> list[Any]:
    """The plain, the FIPS and the dual-stack endpoint; where there is none, why."""
    found: list[Any] = []
    for fips, dualstack in ((False, False), (True, False), (False, True)):
        try:
            found.append(
                resolver.construct_endpoint(
                    service, region, partition, use_fips_endpoint=fips, use_dualstack_endpoint=dualstack
                )
            )
        except EndpointVariantError as error:
            found.append(str(error))
    return found


def test_the_layer_is_for_arm64() -> None:
    """Whatever is compiled in the layer is compiled for the functions' processor, wherever it was built."""
    compiled = list(LAYER.rglob("*.so"))

    assert {path.read_bytes()[18:20] for path in compiled} == {AARCH64}


def test_byte_code_is_for_the_runtime() -> None:
    """Byte code in the layer is of Python 3.13 and says that it needs no check of the source's time."""
    for path in LAYER.rglob("*.pyc"):
        assert path.name.endswith(".cpython-313.pyc")
        assert path.read_bytes()[4:8] == b"\x01\x00\x00\x00", "hash-based, unchecked: PEP 552"


def test_the_layer_is_no_larger_than_lambda_takes() -> None:
    """Layer and function together stay far under the 250 MB that Lambda unpacks."""
    assert sum(path.stat().st_size for path in LAYER.rglob("*") if path.is_file()) < 100_000_000


@pytest.fixture
def python313() -> str:
    """Python 3.13, as Lambda has it, where this machine has one."""
    found = subprocess.run([ROOT / "make/find-python", "3.13"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("this machine has no Python 3.13")
    return found.stdout.strip()


@pytest.mark.parametrize(("method_file", "compiles"), [("compiled_methods.bin", False), ("nothing.bin", True)])
def test_no_class_is_compiled_on_the_way_of_an_alert(
    python313: str, tmp_path: pathlib.Path, method_file: str, *, compiles: bool
) -> None:
    """What dataclasses write for our classes is in the layer, compiled; without that file it would be compiled anew."""
    program = f"""if True:
        import dataclasses, pathlib, sys
        sys.path.insert(0, {str(LAYER / "python")!r})
        import botocore.session, aws_lambda_powertools.metrics
        seen = []
        sys.addaudithook(lambda name, given: seen.append(given[0]) if name == "compile" else None)
        path = pathlib.Path.with_suffix
        pathlib.Path.with_suffix = lambda self, suffix: path(self, suffix).with_name({method_file!r})
        import rootwatch.pipeline, rootwatch.wiring, rootwatch.channels.slack, rootwatch.channels.sns
        print(len([text for text in seen if "__dataclass" in str(text)]))
    """
    done = subprocess.run(
        [python313, "-I", "-S", "-B", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert (int(done.stdout) > 0) is compiles
    assert (LAYER / "python/rootwatch/compiled_methods.bin").exists()


@pytest.mark.parametrize("folder", FUNCTIONS.values())
def test_handlers_import_as_in_lambda(folder: str, python313: str, tmp_path: pathlib.Path) -> None:
    """Under Python 3.13, with the layer and the artifact and nothing else, handler and every client can be made."""
    function = {value: key for key, value in FUNCTIONS.items()}[folder]
    paths = [str(BUILD / function), str(LAYER / "python")]
    clients = sorted(set(re.findall(r'_session\(\)\.client\("([a-z]+)"', WIRING.read_text(encoding="utf-8"))))
    program = (
        f"import sys; sys.path[:0] = {paths!r}; import app; from rootwatch import wiring;"
        f"print(callable(app.handler), app.__file__); [wiring._session().client(name) for name in {clients!r}]"
    )
    assert clients

    # -I and -S: neither this project's folder nor any site-packages may help.
    done = subprocess.run(
        [python313, "-I", "-S", "-B", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"AWS_LAMBDA_FUNCTION_NAME": "x", "AWS_DEFAULT_REGION": "us-east-1", "TZ": "UTC"},
    )

    assert done.stdout.split() == ["True", str(BUILD / function / "app.py")], done.stderr
