<?php
// Sessions as Laravel keeps them in Redis, by its own classes: laravel.php SOCKET KIND COUNT. KIND is php or encrypted.
// Prints their ids.
foreach (['Redis', 'Session', 'Cache', 'Encryption'] as $part) {
    require "/usr/share/php/Illuminate/$part/autoload.php";
}
use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;
use Illuminate\Encryption\Encrypter;
use Illuminate\Redis\RedisManager;
use Illuminate\Session\CacheBasedSessionHandler;
use Illuminate\Session\EncryptedStore;
use Illuminate\Session\Store;

[$_, $socket, $kind, $count] = $argv;
$redis = new RedisManager(null, 'phpredis', [
    'options' => ['prefix' => 'laravel_database_'],
    'default' => ['scheme' => 'unix', 'host' => $socket, 'port' => 0, 'database' => 0],
]);
$handler = new CacheBasedSessionHandler(new Repository(new RedisStore($redis, 'laravel_cache', 'default')), 120);
for ($i = 0; $i < (int)$count; $i++) {
    $id = bin2hex(random_bytes(20));
    $session = $kind == 'encrypted' ? new EncryptedStore('laravel_session', $handler, new Encrypter(random_bytes(16)), $id)
                                    : new Store('laravel_session', $handler, $id);
    $session->start();
    if ($i != 3) $session->put('login_web_' . sha1('Illuminate\Auth\SessionGuard'), 1 + $i);
    $session->put('role', $i % 2 ? 'member' : 'admin');
    $session->put('cart', ['eggs' => 2]);
    $session->save();
    echo $session->getId(), "\n";
}
(new RedisStore($redis, 'laravel_cache', 'default'))->put('something-else-in-the-cache', 5, 100);
