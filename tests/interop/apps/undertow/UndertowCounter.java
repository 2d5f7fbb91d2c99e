import io.undertow.Undertow;
import io.undertow.server.session.InMemorySessionManager;
import io.undertow.server.session.Session;
import io.undertow.server.session.SessionAttachmentHandler;
import io.undertow.server.session.SessionConfig;
import io.undertow.server.session.SessionCookieConfig;
import io.undertow.server.session.SessionManager;
import io.undertow.util.Headers;
import io.undertow.util.HttpString;

/** How often this Undertow's in-memory session has seen the visitor: PORT NODE. */
public class UndertowCounter {
  public static void main(String[] arguments) {
    SessionConfig cookies = new SessionCookieConfig();
    SessionAttachmentHandler handler = new SessionAttachmentHandler(exchange -> {
      SessionManager sessions = exchange.getAttachment(SessionManager.ATTACHMENT_KEY);
      Session session = sessions.getSession(exchange, cookies);
      if (session == null) session = sessions.createSession(exchange, cookies);
      Integer seen = (Integer) session.getAttribute("count");
      int count = seen == null ? 1 : seen + 1;
      session.setAttribute("count", count);
      exchange.getResponseHeaders().put(Headers.CONTENT_TYPE, "text/plain");
      exchange.getResponseHeaders().put(new HttpString("X-Node"), arguments[1]);
      exchange.getResponseSender().send(Integer.toString(count));
    }, new InMemorySessionManager("counter"), cookies);
    Undertow.builder().addHttpListener(Integer.parseInt(arguments[0]), "127.0.0.1").setHandler(handler).setIoThreads(1).setWorkerThreads(2)
        .build().start();
  }
}
