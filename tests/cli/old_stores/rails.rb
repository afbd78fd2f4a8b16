# Sessions as Rails keeps them in Redis, by redis-actionpack: rails.rb SOCKET COUNT. Prints the ids that stand in the cookies.
require 'logger'
require 'active_support/all'
require 'action_dispatch'
require 'redis-actionpack'

socket, count = ARGV
Cart = Struct.new(:items, :total)
app = lambda do |env|
  session = ActionDispatch::Request.new(env).session
  n = env['n']
  session['user_id'] = 1 + n unless n == 3
  session['role'] = n.odd? ? 'member' : 'admin'
  session['warden.user.user.key'] = [[1 + n], '$2a$10$salt']
  session['flash'] = { 'flashes' => { 'notice' => "J\u{f6}rg" } }
  session['many'] = [1.5, 2**70, -129, 65_536, nil, true, :symbol, Time.at(0), Cart.new(['eggs'], 3), "\xff".b, 'again', :symbol]
  puts session.id.public_id
  [200, {}, ['']]
end
store = ActionDispatch::Session::RedisStore.new(app, redis_server: { path: socket, namespace: 'session' }, expire_after: 86_400)
count.to_i.times do |n|
  store.call({ 'n' => n, 'rack.input' => StringIO.new, 'REQUEST_METHOD' => 'GET', 'PATH_INFO' => '/', 'rack.url_scheme' => 'http' })
end
