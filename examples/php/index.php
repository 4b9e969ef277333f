<?php // Echo and broadcast behind WSAAS, in plain PHP.
// php -S localhost:8000 index.php                                       the API, on port 8000
// API_URI=localhost:8000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080
//
// With the gateway's API_SECRET it accepts only signed calls; with the gateway's PUSH_TOKEN its pushes carry the token.

/** Changes the list of connected clients. It is in a file: PHP keeps no memory, and several workers may share it. */
function clients(callable $change): array {
    umask(0077); // anyone who can read a ws_uri can push to it
    $file = fopen((getenv('CLIENTS_DIR') ?: sys_get_temp_dir()) . '/wsaas-clients', 'c+');
    flock($file, LOCK_EX);
    $clients = $change(array_filter(explode("\n", stream_get_contents($file))));
    ftruncate($file, 0);
    rewind($file);
    fwrite($file, implode("\n", $clients));
    fclose($file);
    return $clients;
}

function words(string $name): array {
    return preg_split('/\s+/', getenv($name) ?: '', -1, PREG_SPLIT_NO_EMPTY);
}

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

function push(string $ws_uri, string $body, string $type): void {
    $call = ['method' => 'PUT', 'content' => $body, 'timeout' => 5, 'ignore_errors' => true,
             'header' => ["Content-Type: $type", 'Content-Length: ' . strlen($body)]];
    if ($tokens = words('PUSH_TOKEN')) $call['header'][] = "Authorization: Bearer $tokens[0]";
    $url = preg_match('~^https?://~', $ws_uri) ? $ws_uri : "http://$ws_uri";
    $answer = @fopen($url, 'r', false, stream_context_create(['http' => $call]));
    if ($answer && str_contains(stream_get_meta_data($answer)['wrapper_data'][0], ' 404 '))
        clients(fn($all) => array_diff($all, [$ws_uri])); // disconnected; its DELETE is on the way
}

[$method, $me] = [$_SERVER['REQUEST_METHOD'], $_SERVER['HTTP_WS_URI'] ?? ''];
$body = file_get_contents('php://input');
if ($me && ($secrets = words('API_SECRET')) && !is_signed($secrets, $body)) {
    http_response_code(403);
    exit(json_encode(['code' => 'FORBIDDEN']));
}
if ($me && $method === 'POST') clients(fn($all) => array_unique([...$all, $me]));
if ($me && $method === 'DELETE') clients(fn($all) => array_diff($all, [$me]));
if ($me && $method === 'PUT') {
    $type = $_SERVER['CONTENT_TYPE'] ?? 'text/plain';
    foreach (array_diff(clients(fn($all) => $all), [$me]) as $other) push($other, $body, $type);
    header('Ws-Reply: ' . ($type === 'application/octet-stream' ? 'binary' : 'text'));
    exit($body);
}
header('Content-Type: application/json', true, $me ? 200 : 400);
exit(json_encode(['code' => $me ? 'OK' : 'BAD_REQUEST']));
