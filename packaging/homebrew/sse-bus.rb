# A Homebrew formula. docs/how-to/install-packages.md shows how to install it; `--HEAD` builds the newest commit.
class SseBus < Formula
  desc "Local event bus: publish over a Unix socket, subscribe over Server-Sent Events"
  homepage "https://github.com/sse-bus/sse-bus"
  url "https://github.com/sse-bus/sse-bus.git", tag: "v0.1.0"
  license any_of: ["MIT", "Apache-2.0"]
  head "https://github.com/sse-bus/sse-bus.git", branch: "main"

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args
    (buildpath/"man").mkpath
    system bin/"sse-busctl", "man", buildpath/"man"
    man1.install Dir["man/*.1"]
    man5.install Dir["man/*.5"]
    generate_completions_from_executable(bin/"sse-busctl", "completions", shells: [:bash, :zsh, :fish])
  end

  # This service has no sockets that outlive the daemon. `sse-busctl service install` creates an agent with such sockets.
  service do
    run opt_bin/"sse-busd"
    keep_alive true
    log_path var/"log/sse-bus.log"
    error_log_path var/"log/sse-bus.log"
  end

  test do
    socket = testpath/"bus.sock"
    port = free_port
    daemon = spawn bin/"sse-busd", "--no-config", "--listen", "127.0.0.1:#{port}", "--socket", socket,
                   "--state-dir", testpath/"state"
    begin
      sleep 0.1 until socket.exist?
      system bin/"sse-busctl", "--socket", socket, "publish", "build/web", "ok"
      history = shell_output("#{bin}/sse-busctl --socket #{socket} history build/web --format data")
      assert_equal "ok\n", history
    ensure
      Process.kill "TERM", daemon
      Process.wait daemon
    end
  end
end
