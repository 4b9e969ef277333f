"""``docs/frameworks.rst``: each recipe is run behind a real gateway; and its traps are stepped into.

What only this page needs is not in the extra ``test``: Django, FastAPI, uvicorn and Flask-WTF are found by the Python
that ``FRAMEWORKS`` names (see ``.ci/run``), or else by the one that runs the tests; Express by ``NODE_PATH``; Laravel,
Rails and Go are Debian's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.trial.unittest import SkipTest

from bench.ports import free_port
from tests.browser import start_browser
from tests.processes import PATIENCE, ROOT, environment, start, start_gateway, twistd
from tests.system.test_docs import ParsedTestCase

try:
    from websockets.sync.client import connect
except ImportError:
    HAVE_WEBSOCKETS = False
else:
    HAVE_WEBSOCKETS = True

# Trial runs whatever is a TestCase: what the recipes share becomes one only in each subclass.
if TYPE_CHECKING:
    Base = ParsedTestCase
else:
    Base = object

PAGE = ROOT / "docs" / "frameworks.rst"
LEAVING = ROOT / "docs" / "leaving-api-gateway.rst"
TEXT, BINARY = "text/plain; charset=utf-8", "application/octet-stream"
#: The port that the page names.
NAMED = "9000"
#: To compile what Go comes with takes its time once.
COMPILING = 300


class FrameworkTests(ABC, Base):
    """What each recipe does; mixed into one test case for each."""

    title: str
    language: str
    file: str
    path = "/websocket"

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """:returns: what starts the API in :attr:`folder` on this port; or the test is skipped"""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def source(self) -> str:
        """:returns: the recipe, as a reader would have it"""
        [source] = self.code(self.section(PAGE, self.title), self.language)
        return source

    def serve(self, *changes: tuple[str, str]) -> int:
        """Start the recipe.

        :param changes: what is replaced in it, and by what
        :returns: its port
        """
        source, port = self.source(), free_port()
        for old, new in changes:
            self.assertIn(old, source)
            source = source.replace(old, new)
        file = self.folder / self.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source.replace(NAMED, str(port)), encoding="utf-8")
        command = self.command(port)
        start(self, command, self.environment(), self.folder).wait_for_port(port)
        return port

    def environment(self) -> dict[str, str]:
        """:returns: that of the API"""
        return environment()

    def call(
        self, port: int, method: str, body: bytes | None = None, kind: str = TEXT, **more: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Do what the gateway does: one callback.

        :returns: status, headers, body
        """
        api = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.addCleanup(api.close)
        headers = {"Ws-Path": "/?room=7", **more}
        api.request(method, self.path, body, headers if body is None else {**headers, "Content-Type": kind})
        answer = api.getresponse()
        return answer.status, dict(answer.headers.items()), answer.read()

    def ask(self, port: int) -> tuple[int, Mapping[str, str], bytes]:
        """:returns: the answer to a POST"""
        return self.call(port, "POST", b'{"ws_uri": "http://gateway.test/x"}', "application/json")

    def test_rooms(self) -> None:
        """Clients of a room hear each other, byte for byte, and nobody else does."""
        if not HAVE_WEBSOCKETS:
            raise SkipTest("websockets is not installed")
        port = self.serve()
        # Called as a private API is: by this name, too.
        gateway = start_gateway(self, API_URI=f"localhost:{port}{self.path}")
        url = gateway.websocket_url
        with (
            connect(f"{url}/?room=a%2Fb%20%E2%98%9D") as first,
            connect(f"{url}/chat?x=1&room=a%2Fb+%E2%98%9D") as second,
            connect(f"{url}/?room=a,hall") as elsewhere,
            connect(url) as hall,
        ):
            sent: list[str | bytes] = ["hello ☝", b"\x00\xff\r\n", '{"a": 1}', "", b"", "{", "x" * 120_000]
            for message in sent:
                first.send(message)
            for client in (first, second):
                self.assertEqual([client.recv(PATIENCE) for _ in sent], sent)
            for client in (elsewhere, hall):
                client.send("alone")
                self.assertEqual(client.recv(PATIENCE), "alone")
        for _ in range(4):
            gateway.wait_for_line(r"closed: 1000 by client")
        self.assertNotIn("WARN", gateway.output)

    def test_the_recipe_is_short(self) -> None:
        lines = self.source().splitlines()
        self.assertLessEqual(len(lines), 45)
        self.assertLessEqual(max(map(len, lines)), 110)


class PythonFrameworkTests(FrameworkTests):
    """Those of Python."""

    language = "python"
    module: str

    def python(self) -> str:
        """:returns: a Python that has the framework"""
        python = os.environ.get("FRAMEWORKS") or sys.executable
        done = subprocess.run([python, "-c", f"import {self.module}"], capture_output=True, check=False)
        if done.returncode:
            raise SkipTest(f"{self.module} is not installed: set FRAMEWORKS to a Python that has it")
        return python


class FlaskCase(PythonFrameworkTests):
    """With Flask's own server."""

    title, file, module = "Flask", "app.py", "flask_wtf"
    protected = False

    def command(self, port: int) -> list[str]:
        """Flask is in the extra ``test``; what protects it against CSRF is not."""
        python = self.python() if self.protected else sys.executable
        return [python, "-m", "flask", "--app", "app", "run", "--port", str(port)]


class FlaskTests(FlaskCase, ParsedTestCase):
    def test_json(self) -> None:
        """A message is no JSON by its type."""
        for changed, status in (("get_json()", 415), ("get_json(force=True)", 200)):
            port = self.serve(("get_data()", changed))
            self.assertEqual(self.call(port, "PUT", b'{"a": 1}')[0], status)

    def test_csrf(self) -> None:
        self.protected = True
        app = "app = Flask(__name__)\n"
        extension = "from flask_wtf import CSRFProtect\napp.secret_key = 'of a test'\ncsrf = CSRFProtect(app)\n"
        status, _, page = self.ask(self.serve((app, app + extension)))
        self.assertEqual(status, 400)
        self.assertIn(b"CSRF", page)
        port = self.serve((app, app + extension), ("\ndef connected", "\n@csrf.exempt\ndef connected"))
        self.assertEqual(self.ask(port)[0], 200)


class LeavingTests(FlaskCase, ParsedTestCase):
    """``docs/leaving-api-gateway.rst``: the chat that is left when one has moved."""

    def source(self) -> str:
        """:returns: the second of the two APIs there; the first is for Lambda"""
        before, after = self.code(self.section(LEAVING, "Amazon API Gateway"), "python")
        compile(before, "before", "exec")
        return after

    def test_rooms(self) -> None:
        """All are in one."""
        if not HAVE_WEBSOCKETS:
            raise SkipTest("websockets is not installed")
        gateway = start_gateway(self, API_URI=f"localhost:{self.serve()}{self.path}")
        with connect(gateway.websocket_url) as first, connect(gateway.websocket_url) as second:
            first.send("hello ☝")
            self.assertEqual([client.recv(PATIENCE) for client in (first, second)], ["hello ☝"] * 2)


class DjangoTests(PythonFrameworkTests, ParsedTestCase):
    title, file, module = "Django", "views.py", "django"

    def command(self, port: int) -> list[str]:
        """In a project as Django makes it."""
        python = self.python()
        if not (self.folder / "manage.py").exists():
            subprocess.run([python, "-m", "django", "startproject", "site_", "."], cwd=self.folder, check=True)
        urls = 'import views\nfrom django.urls import path\nurlpatterns = [path("websocket", views.websocket)]\n'
        (self.folder / "site_" / "urls.py").write_text(urls, encoding="utf-8")
        return [python, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]

    def test_csrf(self) -> None:
        port = self.serve(("@csrf_exempt\n", ""))
        status, _, page = self.ask(port)
        self.assertEqual(status, 403)
        self.assertIn(b"CSRF", page)

    def test_hosts(self) -> None:
        port = self.serve()
        self.assertEqual(self.ask(port)[0], 200)
        self.assertEqual(self.call(port, "POST", b"{}", Host="api.test")[0], 400)


class FastAPITests(PythonFrameworkTests, ParsedTestCase):
    title, file, module = "FastAPI", "api.py", "fastapi, uvicorn"

    def command(self, port: int) -> list[str]:
        """With its usual server."""
        return [self.python(), "-m", "uvicorn", "api:app", "--port", str(port)]

    def test_a_declared_body(self) -> None:
        port = self.serve(("message(request: Request)", "message(request: Request, said: dict)"))
        self.assertEqual(self.call(port, "PUT", b"hello")[0], 422)

    def test_a_string(self) -> None:
        source = self.source()
        line = next(line for line in source.splitlines() if "request.body()" in line)
        port = self.serve((line, '    return "hello"'))
        self.assertEqual(self.call(port, "PUT", b"hello")[2], b'"hello"')


class ExpressTests(FrameworkTests, ParsedTestCase):
    title, language, file = "Express", "javascript", "server.js"
    raw = "express.raw({ type: () => true, limit: '16mb' })"

    def environment(self) -> dict[str, str]:
        """Express may lie on ``NODE_PATH`` or where Debian's package puts it."""
        return environment(NODE_PATH=os.pathsep.join(filter(None, [os.environ.get("NODE_PATH"), "/usr/share/nodejs"])))

    def command(self, port: int) -> list[str]:
        """With Node."""
        node = shutil.which("node")
        if node is None:
            raise SkipTest("Node is not installed")
        looks = [node, "-e", "require.resolve('express')"]
        if subprocess.run(looks, env=self.environment(), cwd=self.folder, capture_output=True, check=False).returncode:
            raise SkipTest("Express is not installed: set NODE_PATH to the node_modules folder that holds it")
        return [node, self.file]

    def test_json(self) -> None:
        port = self.serve((self.raw, "express.json()"))
        self.assertEqual(self.call(port, "PUT", b"hello")[2], b"")
        self.assertEqual(self.call(port, "PUT", b"{", "application/json")[0], 400)

    def test_the_type(self) -> None:
        port = self.serve(("type: () => true, ", ""))
        self.assertEqual(self.call(port, "PUT", b"hello", BINARY)[2], b"hello")
        self.assertNotEqual(self.call(port, "PUT", b"hello")[2], b"hello")

    def test_the_limit(self) -> None:
        port = self.serve((", limit: '16mb'", ""))
        self.assertEqual(self.call(port, "PUT", bytes(100_000), BINARY)[0], 200)
        self.assertEqual(self.call(port, "PUT", bytes(110_000), BINARY)[0], 413)


class PHPCase(FrameworkTests):
    """With PHP's built-in server."""

    language = "php"
    script: str

    def command(self, port: int) -> list[str]:
        """With warnings in the answer, as php.ini-development has it."""
        php = shutil.which("php")
        if php is None:
            raise SkipTest("PHP is not installed")
        return [php, "-d", "display_errors=1", "-S", f"localhost:{port}", self.script]


class PHPTests(PHPCase, ParsedTestCase):
    title, file, script = "Plain PHP", "room.php", "room.php"

    def test_a_warning(self) -> None:
        """What is printed before is a part of the answer."""
        port = self.serve(("<?php\n", "<?php\necho $nothing;\n"))
        status, _, body = self.ask(port)
        self.assertEqual(status, 200)
        self.assertIn(b"Undefined variable", body.partition(b"{")[0])


#: What an installation of Laravel has around ``routes/api.php``, as far as the recipe needs it; without a prefix, the
#: same routes as they would be in ``routes/web.php``.
LARAVEL = r"""<?php
require 'Illuminate/autoload.php';
use Illuminate\Support\Facades\Route;
class Routes extends Illuminate\Foundation\Support\Providers\RouteServiceProvider {
    public function boot() {
        $this->routes(function () {
            $web = [Illuminate\Session\Middleware\StartSession::class,
                Illuminate\Foundation\Http\Middleware\VerifyCsrfToken::class];
            Route::prefix('api')->group(__DIR__ . '/routes/api.php');
            Route::middleware($web)->group(__DIR__ . '/routes/api.php');
        });
    }
}
$app = new Illuminate\Foundation\Application(__DIR__);
$app->singleton(Illuminate\Contracts\Http\Kernel::class, Illuminate\Foundation\Http\Kernel::class);
$app->singleton(Illuminate\Contracts\Debug\ExceptionHandler::class, Illuminate\Foundation\Exceptions\Handler::class);
$app->make(Illuminate\Contracts\Http\Kernel::class)->handle(Illuminate\Http\Request::capture())->send();
"""
LARAVEL_CONFIG = {
    "app": r"""<?php return ['env' => 'local', 'debug' => false, 'url' => 'http://localhost', 'timezone' => 'UTC',
        'locale' => 'en', 'key' => str_repeat('k', 32), 'cipher' => 'AES-256-CBC', 'aliases' => [], 'providers' => [
        Illuminate\Encryption\EncryptionServiceProvider::class, Illuminate\Filesystem\FilesystemServiceProvider::class,
        Illuminate\Session\SessionServiceProvider::class, Illuminate\Translation\TranslationServiceProvider::class,
        Illuminate\View\ViewServiceProvider::class, Routes::class]];""",
    "session": r"""<?php return ['driver' => 'array', 'lifetime' => 120, 'cookie' => 'c', 'path' => '/',
        'domain' => null, 'secure' => false, 'expire_on_close' => false, 'lottery' => [0, 100]];""",
    "view": "<?php return ['paths' => [], 'compiled' => __DIR__ . '/../storage/views'];",
}


class LaravelTests(PHPCase, ParsedTestCase):
    """With Debian's package, which is Laravel 8."""

    title, file, script, path = "Laravel", "routes/api.php", "index.php", "/api/websocket"

    def command(self, port: int) -> list[str]:
        """In a small installation."""
        if not Path("/usr/share/php/Illuminate/autoload.php").exists():
            raise SkipTest("Laravel (Debian package php-laravel-framework) is not installed")
        for name in ("config", "bootstrap/cache", "storage/views", "storage/logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, text in LARAVEL_CONFIG.items():
            (self.folder / "config" / f"{name}.php").write_text(text, encoding="utf-8")
        (self.folder / self.script).write_text(LARAVEL, encoding="utf-8")
        return super().command(port)

    def test_csrf(self) -> None:
        port = self.serve()
        self.path = "/websocket"
        self.assertEqual(self.ask(port)[0], 419)


class GoTests(FrameworkTests, ParsedTestCase):
    title, language, file = "Go, net/http", "go", "main.go"

    def command(self, port: int) -> list[str]:
        """Compiled first, as ``go run`` does."""
        go = shutil.which("go") or "/usr/local/go/bin/go"
        if not Path(go).exists():
            raise SkipTest("Go is not installed")
        subprocess.run([go, "build", "-o", "room", self.file], cwd=self.folder, check=True, timeout=COMPILING)
        return ["./room"]

    def test_a_late_header(self) -> None:
        written = 'io.WriteString(w, `{"code": "OK"}`)'
        port = self.serve(('w.Header().Set("Ws-Join"', f'{written}\n        w.Header().Set("Ws-Join"'))
        status, headers, _ = self.ask(port)
        self.assertEqual((status, headers.get("Ws-Join")), (200, None))

    def test_writing_while_reading(self) -> None:
        """The rest of a long message is dropped."""
        read = "message, _ := io.ReadAll(r.Body)\n        "
        port = self.serve((read, ""), ("w.Write(message)", "io.Copy(w, r.Body)"))
        sent = b"x" * 120_000
        self.assertEqual(self.call(port, "PUT", b"hello")[2], b"hello")
        self.assertLess(len(self.call(port, "PUT", sent)[2]), len(sent))


#: What an application of Rails has around the controller, as far as the recipe needs it.
RAILS = """
require "action_controller/railtie"
class Rooms < Rails::Application
  config.eager_load = false
  config.secret_key_base = "of a test"
  config.logger = Logger.new($stderr)
  config.action_controller.default_protect_from_forgery = true
  routes.append { match "/websocket", to: "websocket#call", via: [:post, :put, :delete] }
end
Rooms.initialize!
require_relative "app/controllers/websocket_controller"
run Rooms
"""


class RailsTests(FrameworkTests, ParsedTestCase):
    """With Debian's packages, which are Rails 6.1 and Puma."""

    title, language, file = "Rails", "ruby", "app/controllers/websocket_controller.rb"

    def command(self, port: int) -> list[str]:
        """In a small application, with the server that Rails starts."""
        ruby, puma = shutil.which("ruby"), shutil.which("puma")
        found = (
            ruby and subprocess.run([ruby, "-e", 'require "rails"'], capture_output=True, check=False).returncode == 0
        )
        if not (found and puma):
            raise SkipTest("Rails (Debian packages ruby-railties, puma) is not installed")
        (self.folder / "config.ru").write_text(RAILS, encoding="utf-8")
        return [puma, "-b", f"tcp://127.0.0.1:{port}", "config.ru"]

    def test_forgery(self) -> None:
        port = self.serve(("ActionController::API", "ActionController::Base"))
        self.assertEqual(self.ask(port)[0], 422)


#: Runs ``client.js`` with a clock, chances and sockets of its own, and tells what came of it as JSON.
FAKES = """
let now = 0, timers = [], sockets = [], said = [];
Date.now = () => now;
Math.random = () => 0.5;
globalThis.setTimeout = (call, pause) => timers.push([call, pause]) && timers.length;
globalThis.clearTimeout = (number) => { timers[number - 1] = null; };
globalThis.WebSocket = class {
  static OPEN = 1;
  constructor(url) { this.url = url; this.readyState = 0; this.sent = []; sockets.push(this); }
  send(data) { this.sent.push(data); }
  close(code) { this.end(code); }
  begin() { this.readyState = 1; this.onopen({}); }
  end(code) { this.readyState = 3; this.onclose({ code }); }
};
const last = () => sockets[sockets.length - 1];
const next = () => { const [call, pause] = timers[timers.length - 1]; call(); return pause; };
"""


class ClientTests(ParsedTestCase):
    """``examples/client.js``."""

    source = ROOT / "examples" / "client.js"

    def run_js(self, code: str) -> Any:
        """:returns: what the code says of a client that it has connected"""
        node = shutil.which("node")
        if node is None:
            raise SkipTest("Node is not installed")
        client = self.source.read_text(encoding="utf-8")
        script = f"{FAKES}\n(0, eval)({json.dumps(client + '; globalThis.connect = connect')});\n{code}"
        done = subprocess.run([node, "-e", script], capture_output=True, check=False, timeout=PATIENCE, text=True)
        self.assertEqual(done.stderr, "")
        return json.loads(done.stdout)

    def test_the_page_has_it(self) -> None:
        [block] = self.code(self.section(PAGE, "A browser that comes back"), "javascript")
        self.assertEqual(block + "\n", self.source.read_text(encoding="utf-8"))
        self.assertLessEqual(len(block.splitlines()), 40)

    def test_pauses_double_up_to_a_limit(self) -> None:
        pauses = self.run_js("""
            connect("ws://a");
            const pauses = [];
            for (let i = 0; i < 8; i++) { last().end(1006); pauses.push(next()); }
            console.log(JSON.stringify(pauses));
        """)
        self.assertEqual(pauses, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000])

    def test_a_steady_connection_begins_anew(self) -> None:
        """One that is closed as soon as it is accepted does not."""
        pauses = self.run_js("""
            connect("ws://a");
            const pauses = [];
            for (const open of [0, 0, 10001, 0]) { last().begin(); now += open; last().end(1013); pauses.push(next()); }
            console.log(JSON.stringify(pauses));
        """)
        self.assertEqual(pauses, [500, 1000, 500, 1000])

    def test_codes(self) -> None:
        """As the page's table has it."""
        rows = self.rows(self.section(PAGE, "A browser that comes back"))
        expected: dict[int, bool] = {}
        for codes, _, then in rows:
            numbers = [int(number) for number in re.findall(r"\d+", codes.astext())]
            expected |= dict.fromkeys(numbers, then.astext().startswith("come back"))
        self.assertEqual(len(expected), 11)
        told = self.run_js(f"""
            const told = {{}};
            for (const code of {sorted(expected)}) {{
              connect("ws://a", {{ onclose: (event, again) => {{ told[code] = again; }} }});
              timers = [];
              last().begin();
              last().end(code);
              if (told[code] !== timers.length > 0) told[code] = "no timer";
            }}
            console.log(JSON.stringify(told));
        """)
        self.assertEqual({int(code): again for code, again in told.items()}, expected)

    def test_sending_closing_and_a_fresh_url(self) -> None:
        told = self.run_js("""
            let count = 0;
            const client = connect(() => `ws://a/?token=${++count}`, { onmessage: (event) => said.push(event) });
            said.push(client.send("early"));
            last().begin();
            said.push(client.send("now"));
            last().onmessage("hello");
            last().end(1006);
            next();
            said.push(last().url);
            last().end(1006);
            client.close();
            said.push(timers.at(-1), sockets[0].sent);
            console.log(JSON.stringify(said));
        """)
        self.assertEqual(told, [False, True, "hello", "ws://a/?token=2", None, ["now"]])

    def test_in_a_browser(self) -> None:
        """It comes back when the gateway does, and stays away when it is told to."""
        from selenium.webdriver.support.ui import WebDriverWait

        driver = start_browser(self)
        gateway = start_gateway(self, "--demo")
        page = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, page)
        script = f"""
            said = [];
            client = connect("{gateway.websocket_url}/", {{
              first: 100,
              onopen: () => said.push("open"),
              onclose: (event, again) => said.push(`${{event.code}} ${{again}}`),
            }});
        """
        source = self.source.read_text(encoding="utf-8")
        (page / "index.html").write_text(f"<script>{source}</script><script>{script}</script>", encoding="utf-8")

        def until(*said: str) -> None:
            def heard(_: object) -> bool:
                told = driver.execute_script("return said")
                return tuple(one for one in told if one != "1006 true") == said

            WebDriverWait(driver, PATIENCE, poll_frequency=0.1).until(heard)

        driver.get((page / "index.html").as_uri())
        until("open")
        gateway.stop()
        until("open", "1001 true")
        there = {"WS_LISTEN": f"tcp:{gateway.port}:interface=127.0.0.1", "WS_HOSTNAME": gateway.http_url}
        start(self, [*twistd(), "--demo"], environment(**there)).wait_for_port(gateway.port)
        until("open", "1001 true", "open")
        driver.execute_script("client.close()")
        until("open", "1001 true", "open", "1000 false")
