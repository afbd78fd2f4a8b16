<?php
// Sessions as PHP keeps them with phpredis: php.php SOCKET HANDLER COUNT. Prints their ids.
[$_, $socket, $handler, $count] = $argv;
ini_set('session.save_handler', 'redis');
ini_set('session.save_path', "unix://$socket");
ini_set('session.serialize_handler', $handler);
ini_set('session.gc_maxlifetime', '86400');
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');

class Cart
{
    public $items = ['eggs' => 2];
    protected $total = 3.5;
    private $owner;

    public function __construct()
    {
        $this->owner = $this;
    }
}

ob_start();
for ($i = 0; $i < (int)$count; $i++) {
    session_start();
    $cart = new Cart();
    $_SESSION = ['user_id' => 1 + $i, 'role' => $i % 2 ? 'member' : 'admin', 'name' => "J\u{f6}rg|;\"{}", 'cart' => $cart, 'same' => $cart,
        'list' => [1, -2, 1.5, true, null, "a\0b"]];
    if ($i == 3) unset($_SESSION['user_id']);
    echo session_id(), "\n";
    session_write_close();
    session_id(session_create_id());
}
ob_end_flush();
