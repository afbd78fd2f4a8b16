/* SPDX-License-Identifier: MIT
 *
 * latchkey on asio: a latchkey::queue whose descriptor an executor watches.
 *
 *     asio::io_context loop;
 *     latchkey::queue queue(lk);
 *     latchkey_asio watch(loop.get_executor(), queue);
 *
 * The queue belongs to the executor's thread, or strand. Destroy `watch` before the queue. For Boost.Asio define LATCHKEY_BOOST_ASIO
 * first.
 */
#ifndef LATCHKEY_ADAPTERS_ASIO_HPP
#define LATCHKEY_ADAPTERS_ASIO_HPP

#include <latchkey.hpp>

#ifdef LATCHKEY_BOOST_ASIO
#include <boost/asio/posix/stream_descriptor.hpp>
namespace latchkey_asio_of = boost::asio;
using latchkey_asio_error = boost::system::error_code;
#else
#include <asio/posix/stream_descriptor.hpp>
namespace latchkey_asio_of = asio;
using latchkey_asio_error = asio::error_code;
#endif

class latchkey_asio
{
  public:
    template <class Executor>
    latchkey_asio(const Executor &executor, latchkey::queue &queue) : state_(std::make_shared<state>(executor, queue))
    {
        wait(state_);
    }
    latchkey_asio(const latchkey_asio &) = delete;
    latchkey_asio &operator=(const latchkey_asio &) = delete;
    ~latchkey_asio()
    {
        state_->queue = nullptr;
        state_->descriptor.release(); /* it belongs to the library; what waits for it is called with an error */
    }

  private:
    struct state {
        template <class Executor>
        state(const Executor &executor, latchkey::queue &of) : descriptor(executor, of.fd()), queue(&of)
        {
        }
        latchkey_asio_of::posix::stream_descriptor descriptor;
        latchkey::queue *queue;
    };
    static void wait(const std::shared_ptr<state> &of)
    {
        of->descriptor.async_wait(latchkey_asio_of::posix::stream_descriptor::wait_read,
                                  [of](const latchkey_asio_error &error) {
                                      if (of->queue && !error) wait(of); /* first: what a callback throws ends this */
                                      if (of->queue) of->queue->ready();
                                  });
    }
    std::shared_ptr<state> state_;
};

#endif
