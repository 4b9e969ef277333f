<?php // WSAAS for a back end in PHP 8.1: check who calls, push, publish. Copy this file; it needs nothing else.
//
// if (!Wsaas\is_signed($secrets, file_get_contents('php://input'))) ...            // answer with 403
//
// $gateway = new Wsaas\Gateway('http://localhost:8080', $token);
// $gateway->push($ws_uri, 'hello');                                                // text; binary: true for bytes
// $gateway->publish(Wsaas\group('room 7'), 'hello', key: '1');                     // to a group, user('bob') or 'all'

namespace Wsaas;

/**
 * Tell whether a callback comes from the gateway, as it was sent, and not long ago.
 *
 * @param string[] $secrets those of API_SECRET, one of which is enough
 * @param string $body as it came
 * @param ?array $server $_SERVER, or what has its form
 * @param int $tolerance seconds between its time and this clock
 */
function is_signed(array $secrets, string $body, ?array $server = null, int $tolerance = 300): bool {
    $server ??= $_SERVER;
    $lines = [];
    foreach ($server as $name => $value) // Ws-Uri is called HTTP_WS_URI there
        if (preg_match('/^HTTP_(WS_(?!SIGNATURE$).+)/', $name, $ours))
            $lines[] = strtolower(strtr($ours[1], '_', '-')) . ":$value";
    sort($lines, SORT_STRING);
    $text = implode("\n", [$server['REQUEST_METHOD'], ...$lines, hash('sha256', $body)]);
    $known = false;
    foreach (explode(' ', $server['HTTP_WS_SIGNATURE'] ?? '') as $given)
        foreach ($secrets as $secret)
            $known = hash_equals('v1=' . hash_hmac('sha256', $text, $secret), $given) || $known;
    return $known && abs(time() - (int) ($server['HTTP_WS_TIMESTAMP'] ?? 0)) <= $tolerance;
}

/** The target of a group, whatever is in its name. */
function group(string $name): string {
    return 'groups/' . rawurlencode($name);
}

/** The target of a user, whatever is in the name. */
function user(string $name): string {
    return 'users/' . rawurlencode($name);
}

/** The gateway's answer is no success. The word is NOT_FOUND when the client is gone. */
class Refused extends \RuntimeException {
    public function __construct(public readonly int $status, public readonly ?string $word, string $message) {
        parent::__construct("$status $word: $message");
    }
}

/** Where messages are pushed and published. It follows no redirects, and a token goes nowhere but to $base. */
class Gateway {
    private string $base;

    /**
     * @param string $base the gateway's WS_HOSTNAME
     * @param string $token one of PUSH_TOKEN; to publish, of PUBLISH_TOKEN
     * @param float $timeout seconds that the gateway may be silent
     */
    public function __construct(
        string $base = 'http://localhost:8080',
        #[\SensitiveParameter] private string $token = '',
        private float $timeout = 10.0,
    ) {
        $this->base = rtrim(self::absolute($base), '/');
    }

    /**
     * Send one message to one client. Repeated with the same key, it is sent once. With $confirm, the answer waits so
     * many milliseconds for the client's pong; without one, its code says UNCONFIRMED.
     */
    public function push(
        string $ws_uri, string $message, bool $binary = false, string $key = '', int $confirm = 0,
    ): array {
        $headers = ['Idempotency-Key' => $key, 'Ws-Confirm' => $confirm ?: ''];
        return $this->ask('PUT', $ws_uri, $message, $binary, $headers);
    }

    /** Close one client's connection; or all of a target: close(user('bob'), 4001). */
    public function close(string $ws_uri, int $code = 1000, string $reason = ''): array {
        return $this->ask('DELETE', "$ws_uri?code=$code&reason=" . rawurlencode($reason));
    }

    /**
     * Send one message to each member. $leave_out has the Ws-Id of those who do not get it; with $skip_slow,
     * members without room are passed over instead of closed. The answer has the counts members, sent and so on.
     */
    public function publish(
        string $target, string $message, bool $binary = false, string $key = '', array $leave_out = [],
        bool $skip_slow = false,
    ): array {
        $slow = $skip_slow ? 'skip' : '';
        $headers = ['Idempotency-Key' => $key, 'Ws-Except' => implode(', ', $leave_out), 'Ws-Slow' => $slow];
        return $this->ask('PUT', $target, $message, $binary, $headers);
    }

    /** What is known of a connection; or how many members a target has. */
    public function describe(string $ws_uri_or_target): array {
        return $this->ask('GET', $ws_uri_or_target);
    }

    private function ask(
        string $method, string $place, string $message = '', bool $binary = false, array $headers = [],
    ): array {
        // Only of this gateway: who forges a callback must not have the token sent elsewhere.
        if (preg_match('~^(groups|users)/|^all(\?|$)~D', $place)) $place = "$this->base/$place";
        elseif (!str_starts_with(self::absolute($place), "$this->base/"))
            throw new \ValueError('this is no ws_uri of this gateway');
        $headers['Content-Type'] = $binary ? 'application/octet-stream' : 'text/plain; charset=utf-8';
        if ($this->token !== '') $headers['Authorization'] = "Bearer $this->token";
        $lines = ['Connection: close'];
        foreach ($headers as $name => $value) {
            if (preg_match('/[\r\n]/', $value)) throw new \ValueError("$name has more than one line");
            if ($value !== '') $lines[] = "$name: $value";
        }
        $context = stream_context_create(['http' => [
            'method' => $method, 'header' => $lines, 'content' => $message, 'timeout' => $this->timeout,
            'protocol_version' => '1.1', 'ignore_errors' => true, 'follow_location' => 0,
        ]]);
        $stream = @fopen(self::absolute($place), 'rb', false, $context);
        if ($stream === false) throw new \RuntimeException('the gateway cannot be reached');
        $said = json_decode(stream_get_contents($stream), true);
        $status = (int) (explode(' ', stream_get_meta_data($stream)['wrapper_data'][0])[1] ?? 0);
        fclose($stream);
        if ($status >= 200 && $status < 300 && isset($said['code'])) return $said;
        throw new Refused($status, $said['code'] ?? null, $said['message'] ?? 'this is no answer of WSAAS');
    }

    private static function absolute(string $uri): string {
        return str_contains($uri, '://') ? $uri : "http://$uri";
    }
}
