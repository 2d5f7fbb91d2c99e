import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;

/** How often this Tomcat's own session has seen the visitor. */
public class Counter extends HttpServlet {
  @Override
  protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
    HttpSession session = request.getSession();
    Integer seen = (Integer) session.getAttribute("count");
    int count = seen == null ? 1 : seen + 1;
    session.setAttribute("count", count);
    if (request.getRequestURI().endsWith("/login")) request.changeSessionId();
    response.setContentType("text/plain");
    response.setHeader("X-Node", System.getProperty("interop.node"));
    response.getWriter().print(count);
  }
}
