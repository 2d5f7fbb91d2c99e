import org.apache.axiom.om.OMAbstractFactory;
import org.apache.axiom.om.OMElement;
import org.apache.axiom.om.OMFactory;
import org.apache.axiom.om.OMNamespace;

/** An Axis2 service of scope soapsession: one object per ServiceGroupId, which counts. */
public class SoapCounter {
  private int count;

  public OMElement count(OMElement request) {
    OMFactory factory = OMAbstractFactory.getOMFactory();
    OMNamespace space = factory.createOMNamespace("urn:counter", "c");
    OMElement answer = factory.createOMElement("countResponse", space);
    answer.setText("count=" + ++count + ".");
    return answer;
  }
}
