<?php // Echo and broadcast behind WSAAS, in plain PHP.
// php -S localhost:8000 index.php                                       the API, on port 8000
// API_URI=localhost:8000/websocket twistd --nodaemon --pidfile= wsaas   the gateway, on port 8080

/** Changes the list of who is connected. It is kept in a file: PHP forgets, and several workers may share it. */
function clients(callable $change): array {
    umask(0077); // whoever can read a ws_uri can push to it
    $file = fopen((getenv('CLIENTS_DIR') ?: sys_get_temp_dir()) . '/wsaas-clients', 'c+');
    flock($file, LOCK_EX);
    $clients = $change(array_filter(explode("\n", stream_get_contents($file))));
    ftruncate($file, 0);
    rewind($file);
    fwrite($file, implode("\n", $clients));
    fclose($file);
    return $clients;
}

function push(string $ws_uri, string $body, string $type): void {
    $call = ['method' => 'PUT', 'content' => $body, 'timeout' => 5, 'ignore_errors' => true,
             'header' => ["Content-Type: $type", 'Content-Length: ' . strlen($body)]];
    $url = preg_match('~^https?://~', $ws_uri) ? $ws_uri : "http://$ws_uri";
    $answer = @fopen($url, 'r', false, stream_context_create(['http' => $call]));
    if ($answer && str_contains(stream_get_meta_data($answer)['wrapper_data'][0], ' 404 '))
        clients(fn($all) => array_diff($all, [$ws_uri])); // gone, and its DELETE is on the way
}

[$method, $me] = [$_SERVER['REQUEST_METHOD'], $_SERVER['HTTP_WS_URI'] ?? ''];
if ($me && $method === 'POST') clients(fn($all) => array_unique([...$all, $me]));
if ($me && $method === 'DELETE') clients(fn($all) => array_diff($all, [$me]));
if ($me && $method === 'PUT') {
    [$body, $type] = [file_get_contents('php://input'), $_SERVER['CONTENT_TYPE'] ?? 'text/plain'];
    foreach (array_diff(clients(fn($all) => $all), [$me]) as $other) push($other, $body, $type);
    header('Ws-Reply: ' . ($type === 'application/octet-stream' ? 'binary' : 'text'));
    exit($body);
}
header('Content-Type: application/json', true, $me ? 200 : 400);
exit(json_encode(['code' => $me ? 'OK' : 'BAD_REQUEST']));
