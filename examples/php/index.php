<?php // Rooms behind WSAAS, in plain PHP: /?room=7&name=Bob is Bob in room 7.
// php -S localhost:8000 index.php                                       the API, on port 8000
// API_URI=localhost:8000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080
//
// It keeps no list of clients, and calls nobody. With the gateway's API_SECRET it accepts only signed calls.

function is_signed(array $secrets, string $body): bool {
    $lines = [];
    foreach ($_SERVER as $name => $value) // Ws-Uri is called HTTP_WS_URI there
        if (preg_match('/^HTTP_(WS_(?!SIGNATURE$).+)/', $name, $ours))
            $lines[] = strtolower(strtr($ours[1], '_', '-')) . ":$value";
    sort($lines, SORT_STRING);
    $text = implode("\n", [$_SERVER['REQUEST_METHOD'], ...$lines, hash('sha256', $body)]);
    $known = false;
    foreach (explode(' ', $_SERVER['HTTP_WS_SIGNATURE'] ?? '') as $given)
        foreach ($secrets as $secret)
            $known = hash_equals('v1=' . hash_hmac('sha256', $text, $secret), $given) || $known;
    return $known && abs(time() - (int) $_SERVER['HTTP_WS_TIMESTAMP']) < 300;
}

/** A parameter of the client's URL, encoded: so it is one name, whatever the client wrote there. */
function asked(string $name, string $default): string {
    parse_str(explode('?', $_SERVER['HTTP_WS_PATH'], 2)[1] ?? '', $query);
    $value = $query[$name] ?? '';
    return is_string($value) && $value !== '' ? rawurlencode($value) : $default;
}

function answer(int $status, string $code): never {
    http_response_code($status);
    header('Content-Type: application/json');
    exit(json_encode(['code' => $code]));
}

$body = file_get_contents('php://input');
$secrets = preg_split('/\s+/', getenv('API_SECRET') ?: '', -1, PREG_SPLIT_NO_EMPTY);
if (!isset($_SERVER['HTTP_WS_PATH'])) answer(400, 'BAD_REQUEST');
if ($secrets && !is_signed($secrets, $body)) answer(403, 'FORBIDDEN');

$room = asked('room', 'hall');
$user = rawurldecode($_SERVER['HTTP_WS_USER'] ?? '');
switch ($_SERVER['REQUEST_METHOD']) {
    case 'POST':
        header("Ws-Join: $room");
        header('Ws-User: ' . asked('name', ''));
        answer(200, 'OK');
    case 'PUT':
        $kind = ($_SERVER['CONTENT_TYPE'] ?? '') === 'application/octet-stream' ? 'binary' : 'text';
        header("Ws-Publish: $kind groups/$room");
        exit($body);
    case 'DELETE':
        if ($user !== '') header("Ws-Publish: text groups/$room");
        exit("$user left");
}
