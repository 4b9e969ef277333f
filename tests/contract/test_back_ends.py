"""The files in ``clients/``: each against the vectors, and against the gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from base64 import b64decode
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.contract.case import ContractTestCase
from tests.processes import ROOT
from tests.recording_api import Answer
from tests.signatures import sign, webhook_signature
from tests.unit.callbacks.test_webhook_signature import KEYS, SECRETS
from tests.wire import BINARY, TEXT

# Trial runs whatever is a TestCase: the tests that the files share become one only in each subclass.
if TYPE_CHECKING:
    Base = ContractTestCase
else:
    Base = object

CLIENTS = ROOT / "clients"
VECTORS: list[dict[str, Any]] = json.loads((CLIENTS / "vectors.json").read_text(encoding="utf-8"))
#: A group's name that is none in a path, unless it is encoded.
ODD = "room 7/ünal, *!"


class VectorTests(SynchronousTestCase):
    """``vectors.json``."""

    def test_they_are_right(self) -> None:
        """They say what the rules say, written down once more in :mod:`tests.signatures`."""
        keys = dict(zip(SECRETS.split(), KEYS, strict=True))
        for vector in VECTORS:
            pairs = [(name.encode(), value.encode("latin-1")) for name, value in vector["headers"].items()]
            body = b64decode(vector["body"])
            right = {sign(secret.encode(), vector["method"], pairs, body) for secret in vector["secrets"]}
            given = set(vector["headers"].get("Ws-Signature", "").split(" "))
            # A time that is none is signed as well as any other text.
            self.assertEqual(bool(right & given), vector["signed"], vector["says"])
            webhooks = {webhook_signature(keys[secret], pairs, body) for secret in vector["secrets"]}
            given = set(vector["headers"]["webhook-signature"].split(" "))
            self.assertEqual(bool(webhooks & given), vector["webhook"], vector["says"])

    def test_there_is_some_of_everything(self) -> None:
        """Each method; both rules, one, none."""
        self.assertEqual({vector["method"] for vector in VECTORS}, {"POST", "PUT", "DELETE"})
        verdicts = {(vector["signed"], vector["webhook"]) for vector in VECTORS}
        self.assertEqual(verdicts, {(True, True), (False, True), (False, False)})


class BackEndTests(Base):
    """What each file does; mixed into one test case for each."""

    #: How a program is run; and programs, each of which reads a JSON list from stdin and prints one.
    command: ClassVar[list[str]]
    #: Of the vectors it tells which are signed. How old they may be comes first in the list.
    checking: ClassVar[str]
    #: It gets the gateway's URL, a token, a ``ws_uri`` and the name of a group, does this and that, and tells of it.
    calling: ClassVar[str]

    def run_program(self, program: str, *given: object) -> Any:
        """:returns: what a program prints"""
        if shutil.which(self.command[0]) is None:
            raise SkipTest(f"{self.command[0]} is not installed")
        ran = subprocess.run(
            [*self.command, program],
            input=json.dumps(given),
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=self.timeout,
            cwd=CLIENTS,
        )
        self.assertEqual((ran.returncode, ran.stderr), (0, ""), ran.stdout)
        return json.loads(ran.stdout)

    def test_vectors(self) -> None:
        """It takes what is signed, and nothing else."""
        found = self.run_program(self.checking, 1 << 50, *VECTORS)
        wrong = [vector["says"] for vector, said in zip(VECTORS, found, strict=True) if said is not vector["signed"]]
        self.assertEqual(wrong, [])

    def test_too_old(self) -> None:
        """However right it is."""
        self.assertEqual(self.run_program(self.checking, 300, *VECTORS), [False] * len(VECTORS))

    async def test_calls(self) -> None:
        """Push text and bytes, publish, count, describe, close; and hear that nobody is there any more."""
        self.api.script["POST"] = Answer(headers=[("Ws-Join", quote(ODD, safe=""))])
        await self.serve(PUSH_TOKEN="for-pushes", PUBLISH_TOKEN="for-all")
        client, ws_uri = await self.connected()
        said = await deferToThread(
            self.run_program, self.calling, f"http://127.0.0.1:{self.port}/", "for-all", ws_uri, ODD
        )
        self.assertEqual(said[:5], ["OK", "OK", "OK", "OK", "OK"])
        self.assertEqual(said[5:9], [1, 1, 0, "/"])
        self.assertEqual(said[9:], ["OK", "404 NOT_FOUND", "401 UNAUTHORIZED", "elsewhere", "elsewhere"])
        frames = [await client.frame() for _ in range(5)]
        expected = [
            (TEXT, "hello ☝".encode()),
            (BINARY, b"\xff\x00"),
            (TEXT, b""),
            (TEXT, b"once"),
            (TEXT, b"to all"),
        ]
        self.assertEqual([(frame.opcode, frame.payload) for frame in frames], expected)
        self.assertEqual((await self.api.call("DELETE")).header("Ws-Close-Reason"), "see%20you%20%26%20bye")


class PythonTests(BackEndTests, ContractTestCase):
    """``gateway.py``."""

    command = [sys.executable, "-c"]
    checking = """
import base64, json, sys
from gateway import is_signed
age, *given = json.load(sys.stdin)
print(json.dumps([
    is_signed(each["secrets"], each["method"], each["headers"], base64.b64decode(each["body"]), age) for each in given
]))
"""
    calling = """
import json, sys
from gateway import Gateway, Refused, group, user
base, token, ws_uri, name = json.load(sys.stdin)
gateway, said = Gateway(base, token), []
said.append(gateway.push(ws_uri, "hello ☝")["code"])
said.append(gateway.push(ws_uri.removeprefix("http://"), b"\\xff\\0")["code"])
said.append(gateway.push(ws_uri, "", key="a")["code"])
said.append(gateway.publish(group(name), "once", key="1")["code"])
said.append(gateway.publish(group(name), "once", key="1")["code"])
said.append(gateway.publish("all", "to all", skip_slow=True)["sent"])
said.append(gateway.describe(group(name))["members"])
said.append(gateway.describe(user(name))["members"])
said.append(gateway.describe(ws_uri)["path"])
said.append(gateway.close(group(name), 4001, "see you & bye")["code"])
for call in (lambda: gateway.push(ws_uri, "gone"), lambda: Gateway(base).push(ws_uri, "no token")):
    try:
        call()
    except Refused as error:
        said.append(f"{error.status} {error.code}")
for place in ("http://127.0.0.1:9/key", base.rstrip("/") + ".evil.example/key"):
    try:
        gateway.push(place, "a secret")
    except ValueError:
        said.append("elsewhere")
print(json.dumps(said))
"""


class JavaScriptTests(BackEndTests, ContractTestCase):
    """``gateway.js``."""

    command = ["node", "-e"]
    checking = """
const { isSigned } = require('./gateway.js');
const [age, ...given] = JSON.parse(require('fs').readFileSync(0));
console.log(JSON.stringify(given.map((each) => {
  const headers = Object.fromEntries(Object.entries(each.headers).map(([name, value]) => [name.toLowerCase(), value]));
  return isSigned(each.secrets, each.method, headers, Buffer.from(each.body, 'base64'), age);
})));
"""
    calling = """
const { Gateway, Refused, group, user } = require('./gateway.js');
const [base, token, wsUri, name] = JSON.parse(require('fs').readFileSync(0));
(async () => {
  const gateway = new Gateway(base, token), said = [];
  said.push((await gateway.push(wsUri, 'hello ☝')).code);
  said.push((await gateway.push(wsUri.replace('http://', ''), Buffer.from([255, 0]))).code);
  said.push((await gateway.push(wsUri, '', { key: 'a' })).code);
  said.push((await gateway.publish(group(name), 'once', { key: '1' })).code);
  said.push((await gateway.publish(group(name), 'once', { key: '1' })).code);
  said.push((await gateway.publish('all', 'to all', { skipSlow: true })).sent);
  said.push((await gateway.describe(group(name))).members);
  said.push((await gateway.describe(user(name))).members);
  said.push((await gateway.describe(wsUri)).path);
  said.push((await gateway.close(group(name), 4001, 'see you & bye')).code);
  for (const call of [() => gateway.push(wsUri, 'gone'), () => new Gateway(base).push(wsUri, 'no token')])
    await call().catch((error) => error instanceof Refused && said.push(`${error.status} ${error.code}`));
  for (const place of ['http://127.0.0.1:9/key', base.replace(/\\/$/, '') + '.evil.example/key'])
    await gateway.push(place, 'a secret').catch((error) => error instanceof TypeError && said.push('elsewhere'));
  console.log(JSON.stringify(said));
})();
"""


class PHPTests(BackEndTests, ContractTestCase):
    """``gateway.php``."""

    command = ["php", "-d", "display_errors=stderr", "-r"]
    checking = """
require 'gateway.php';
$given = json_decode(stream_get_contents(STDIN), true);
$age = array_shift($given);
echo json_encode(array_map(function ($each) use ($age) {
    $server = ['REQUEST_METHOD' => $each['method']];
    foreach ($each['headers'] as $name => $value)
        $server['HTTP_' . strtr(strtoupper($name), '-', '_')] = latin_1($value);
    return Wsaas\\is_signed($each['secrets'], base64_decode($each['body']), $server, $age);
}, $given));
function latin_1(string $text): string {
    $code = fn($it) => chr(ord($it[0][0]) << 6 & 192 | ord($it[0][1]) & 63);
    return preg_replace_callback('/[\\xc2\\xc3][\\x80-\\xbf]/', $code, $text);
}
"""
    calling = """
require 'gateway.php';
use Wsaas\\Gateway; use Wsaas\\Refused; use function Wsaas\\group; use function Wsaas\\user;
[$base, $token, $ws_uri, $name] = json_decode(stream_get_contents(STDIN), true);
$gateway = new Gateway($base, $token);
$said = [];
$said[] = $gateway->push($ws_uri, 'hello ☝')['code'];
$said[] = $gateway->push(str_replace('http://', '', $ws_uri), "\\xff\\0", binary: true)['code'];
$said[] = $gateway->push($ws_uri, '', key: 'a')['code'];
$said[] = $gateway->publish(group($name), 'once', key: '1')['code'];
$said[] = $gateway->publish(group($name), 'once', key: '1')['code'];
$said[] = $gateway->publish('all', 'to all', skip_slow: true)['sent'];
$said[] = $gateway->describe(group($name))['members'];
$said[] = $gateway->describe(user($name))['members'];
$said[] = $gateway->describe($ws_uri)['path'];
$said[] = $gateway->close(group($name), 4001, 'see you & bye')['code'];
foreach ([fn() => $gateway->push($ws_uri, 'gone'), fn() => (new Gateway($base))->push($ws_uri, 'no token')] as $call)
    try { $call(); } catch (Refused $error) { $said[] = "$error->status $error->word"; }
foreach (['http://127.0.0.1:9/key', rtrim($base, '/') . '.evil.example/key'] as $place)
    try { $gateway->push($place, 'a secret'); } catch (ValueError) { $said[] = 'elsewhere'; }
echo json_encode($said);
"""
