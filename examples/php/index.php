<?php // Rooms behind WSAAS, in plain PHP: /?room=7&name=Bob is Bob in room 7.
// php -S localhost:8000 index.php                                       the API, on port 8000
// API_URI=localhost:8000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080
//
// It keeps no list of clients, and calls nobody. With the gateway's API_SECRET it accepts only signed calls.

require __DIR__ . '/../../clients/gateway.php'; // or copy it here

$body = file_get_contents('php://input');
$secrets = preg_split('/\s+/', getenv('API_SECRET') ?: '', -1, PREG_SPLIT_NO_EMPTY);
if (!isset($_SERVER['HTTP_WS_PATH'])) answer(400, 'BAD_REQUEST');
if ($secrets && !Wsaas\is_signed($secrets, $body)) answer(403, 'FORBIDDEN');

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
