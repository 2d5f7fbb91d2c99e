<?php
// How often PHP's own sessions, kept in files of this instance, have seen the visitor.
session_start();
$_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1;
if ($_SERVER['REQUEST_URI'] === '/login') {
    session_regenerate_id(true);
}
header('Content-Type: text/plain');
echo $_SESSION['count'];
